import { CairnError } from '../../base/errors.js';
import type { Exchange } from './exchange.js';

/** Of a body without a length, what is read and dropped beyond the limit before the connection is cut. */
const MAX_DROPPED_BYTES = 16 << 20;

/**
 * Collects the body of a request and hands it to `use`, for the time of that call only. Bodies of one chunk are not copied. A
 * body over `limitBytes` is answered with 413, at once when it declares its length; the library drops what still comes.
 * The connection stays open for that: closing it would reset it, and the client, still sending, might never see
 * the answer. What throws in `use` becomes the answer.
 */
export function readBody(
  exchange: Exchange,
  limitBytes: number,
  declaredBytes: number,
  use: (body: Uint8Array) => void,
): void {
  if (declaredBytes > limitBytes) {
    exchange.fail(tooLarge(limitBytes, declaredBytes));
    return;
  }
  let collected: Uint8Array | null = null;
  let received = 0;
  exchange.response.onData((chunk, isLast) => {
    if (!exchange.isOpen) return;
    const before = received;
    received += chunk.byteLength;
    if (received > limitBytes) {
      collected = null;
      if (isLast) exchange.fail(tooLarge(limitBytes, received));
      else if (received > limitBytes + MAX_DROPPED_BYTES) exchange.fail(tooLarge(limitBytes, -1), true);
      return;
    }
    if (isLast && before === 0) {
      run(exchange, use, new Uint8Array(chunk));
      return;
    }
    if (collected === null || collected.length < received) {
      const grown = new Uint8Array(Math.max(received, Math.min(limitBytes, received * 2)));
      if (collected !== null) grown.set(collected.subarray(0, before));
      collected = grown;
    }
    collected.set(new Uint8Array(chunk), before);
    if (isLast) run(exchange, use, collected.subarray(0, received));
  });
}

function run(exchange: Exchange, use: (body: Uint8Array) => void, body: Uint8Array): void {
  try {
    use(body);
  } catch (error) {
    exchange.fail(error);
  }
}

function tooLarge(limitBytes: number, found: number): CairnError {
  const what = found < 0 ? 'more' : String(found);
  return new CairnError('too_large', `the body: expected at most ${limitBytes} bytes, found ${what}`, {
    extra: { limitBytes },
  });
}

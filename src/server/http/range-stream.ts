import { asCairnError, problemObject } from '../problem.js';
import type { Scan } from '../service.js';
import { reportUnexpected } from './answer.js';
import { ByteWriter } from './byte-writer.js';
import type { Exchange } from './exchange.js';
import { writeListItem } from './list-item.js';
import { stalenessHeader } from './query.js';
import type { RangeRequest } from './range-query.js';

/** At most about this much waits for a slow reader, and is read ahead for a fast one. */
const CHUNK_BYTES = 128 << 10;
const CHUNK_ITEMS = 1000;

/**
 * Sends a whole range as one JSON object a line, as fast as the reader takes it. The last line is
 * {"done":true,"count","revision"}; a stream that ends without it is not complete. A reader that takes
 * nothing for about 10 s is cut off by the library, so a scan is not held open for long.
 */
export async function streamRange(exchange: Exchange, range: RangeRequest, scan: Scan): Promise<void> {
  const { context, response } = exchange;
  let wake: (() => void) | null = null;
  const wakeUp = (): void => {
    const resume = wake;
    wake = null;
    resume?.();
  };
  exchange.onAborted = wakeUp;
  response.onWritable(() => {
    wakeUp();
    return true;
  });

  const writer = new ByteWriter(CHUNK_BYTES);
  const limit = range.hasLimit ? range.limit : Number.MAX_SAFE_INTEGER;
  let count = 0;
  let isFirst = true;
  const send = (last: boolean): boolean => {
    let taken = true;
    response.cork(() => {
      if (isFirst) {
        let headers = `application/x-ndjson${context.dataHeaders(-1)}${exchange.cors}\r\nX-Content-Type-Options: nosniff`;
        headers += stalenessHeader(range.isStale, scan.stalenessMs);
        if (context.draining) headers += '\r\nConnection: close';
        response.writeHeader('Content-Type', headers);
        isFirst = false;
      }
      taken = response.write(writer.view());
      if (!last) return;
      exchange.streamed(200);
      response.end(undefined, context.draining);
    });
    writer.reset();
    return taken;
  };

  try {
    while (!scan.done && count < limit) {
      const items = await scan.next(Math.min(CHUNK_ITEMS, limit - count), CHUNK_BYTES);
      if (!exchange.isOpen) return;
      for (const item of items) {
        writeListItem(writer, item, range.scan.keysOnly);
        writer.ascii('\n');
        count++;
      }
      if (writer.length < CHUNK_BYTES / 2) continue;
      if (!send(false)) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        if (!exchange.isOpen) return;
      }
    }
  } catch (error) {
    // Before the first byte it is an ordinary problem; after it, the stream says so and lacks its last line.
    if (isFirst) throw error;
    reportUnexpected(context, error);
    if (!exchange.isOpen) return;
    writer.utf8(`${JSON.stringify({ done: false, error: problemObject(asCairnError(error)) })}\n`);
    send(true);
    return;
  }
  writer.ascii(`{"done":true,"count":${count},"revision":${scan.revision}}\n`);
  send(true);
}

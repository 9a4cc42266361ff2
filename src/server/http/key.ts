import { CairnError } from '../../base/errors.js';
import { MAX_USER_KEY_BYTES } from '../../lsm/row-key.js';

const PERCENT = 0x25;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const UTF8 = new TextEncoder();
const REPLACEMENT_CHARACTER = '\ufffd';

/**
 * Decodes the key at the end of a path, once, into scratch bytes. Bytes that the client did not percent-encode are taken as
 * UTF-8. The library hands raw bytes that are not UTF-8 over as U+FFFD, so a raw U+FFFD is refused (%EF%BF%BD is not).
 */
export class KeyDecoder {
  /** The key is `bytes[0 .. length)`, until the next `decode`. */
  readonly bytes = new Uint8Array(MAX_USER_KEY_BYTES);
  length = 0;
  /** The key's bytes between double quotes are its JSON text. */
  isPlain = false;
  #path = '';
  #from = 0;
  #decoded = '';

  /** Throws `invalid_key`. */
  decode(path: string, from: number): void {
    const count = path.length - from;
    if (count === 0) throw new CairnError('invalid_key', 'the key is empty: expected 1 to 4096 bytes after the last /');
    this.#path = path;
    this.#from = from;
    this.isPlain = true;
    if (count <= MAX_USER_KEY_BYTES) {
      const bytes = this.bytes;
      let i = 0;
      for (; i < count; i++) {
        const code = path.charCodeAt(from + i);
        if (code <= 0x20 || code >= 0x7f || code === PERCENT || code === QUOTE || code === BACKSLASH) break;
        bytes[i] = code;
      }
      if (i === count) {
        this.length = count;
        return;
      }
    }
    this.isPlain = false;
    this.#decodeAny(path.slice(from));
  }

  /** The key as text; a string of its own, so it may be kept. */
  text(): string {
    return this.isPlain ? this.#path.slice(this.#from) : this.#decoded;
  }

  /** The key as JSON text, with quotes. */
  jsonText(): string {
    return this.isPlain ? `"${this.#path.slice(this.#from)}"` : JSON.stringify(this.#decoded);
  }

  view(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }

  #decodeAny(encoded: string): void {
    this.#decoded = decodePercent(encoded, 'the key', 'invalid_key');
    this.length = checkedKeyLength(this.#decoded, 'the key');
    UTF8.encodeInto(this.#decoded, this.bytes);
  }
}

/** Never a Buffer: `slice` of one is no copy, which is what the service makes of a key. */
export function keyBytes(text: string): Uint8Array {
  return UTF8.encode(text);
}

/** Percent-encoding of UTF-8 to text; `what` names it in the error. */
export function decodePercent(encoded: string, what: string, code: 'invalid_key' | 'invalid_request'): string {
  if (encoded.includes(REPLACEMENT_CHARACTER)) {
    throw new CairnError(code, `${what}: expected UTF-8, found other bytes; percent-encode them`);
  }
  try {
    return decodeURIComponent(encoded);
  } catch {
    throw new CairnError(code, `${what}: expected percent-encoded UTF-8, found ${JSON.stringify(clip(encoded))}`);
  }
}

/** The key's length in bytes. Throws `invalid_key` unless it is 1 to 4,096 bytes of text that UTF-8 can carry. */
export function checkedKeyLength(text: string, what: string): number {
  const length = Buffer.byteLength(text);
  if (length === 0) throw new CairnError('invalid_key', `${what} is empty: expected 1 to ${MAX_USER_KEY_BYTES} bytes`);
  if (length > MAX_USER_KEY_BYTES) {
    throw new CairnError('invalid_key', `${what}: expected at most ${MAX_USER_KEY_BYTES} bytes, found ${length}`);
  }
  if (/\p{Surrogate}/u.test(text)) {
    throw new CairnError('invalid_key', `${what}: expected text, found half of a surrogate pair`);
  }
  return length;
}

function clip(text: string): string {
  return text.length <= 60 ? text : `${text.slice(0, 60)}...`;
}

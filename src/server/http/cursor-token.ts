import { CairnError } from '../../base/errors.js';
import { readUint32, readUint53, writeUint32, writeUint53 } from '../../base/bytes.js';
import { xxHash32 } from '../../base/hash.js';
import { MAX_USER_KEY_BYTES, type Revision } from '../../lsm/row-key.js';

/** Where the next page of a range begins. */
export interface CursorPosition {
  /** The instant that all pages see. */
  readonly revision: Revision;
  /** The last key of the page before. */
  readonly lastKey: Uint8Array;
}

/** version u8, check u32, revision u64, last key; in base64url. */
const VERSION = 1;
const HEADER_BYTES = 1 + 4 + 8;

/** `parameters` is any text that is the same exactly when the request's parameters are. */
export function encodeCursor(position: CursorPosition, parameters: string): string {
  const token = Buffer.alloc(HEADER_BYTES + position.lastKey.length);
  token[0] = VERSION;
  writeUint53(token, 5, position.revision);
  token.set(position.lastKey, HEADER_BYTES);
  writeUint32(token, 1, check(token, parameters));
  return token.toString('base64url');
}

/** Throws `invalid_cursor` for a token that was altered or made for other parameters. */
export function decodeCursor(text: string, parameters: string): CursorPosition {
  const token = Buffer.from(text, 'base64url');
  const isWhole =
    token.length > HEADER_BYTES &&
    token.length <= HEADER_BYTES + MAX_USER_KEY_BYTES &&
    token[0] === VERSION &&
    token.toString('base64url') === text;
  if (!isWhole) throw new CairnError('invalid_cursor', 'cursor: expected one that a range gave, found something else');
  if (readUint32(token, 1) !== check(token, parameters)) {
    throw new CairnError('invalid_cursor', 'cursor: expected the parameters that it was made for, found others');
  }
  const revision = readUint53(token, 5);
  return { revision, lastKey: new Uint8Array(token.subarray(HEADER_BYTES)) };
}

function check(token: Buffer, parameters: string): number {
  const bytes = Buffer.concat([token.subarray(5), Buffer.from(parameters)]);
  return xxHash32(bytes, 0, bytes.length);
}

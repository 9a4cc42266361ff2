import { readUint32, writeUint32 } from '../base/bytes.js';
import { CairnError } from '../base/errors.js';
import { crc32c } from './crc32c.js';
import { FRAME_HEADER_BYTES, FrameSplitter } from './frame.js';

/**
 * Frames between nodes: u32 little-endian length of what follows, u32 little-endian CRC32C of the body, the body. The length
 * counts the checksum, so that the client protocol's splitter cuts these frames too.
 */
const CHECKSUM_BYTES = 4;
export const PEER_HEADER_BYTES: number = FRAME_HEADER_BYTES + CHECKSUM_BYTES;

/** Completes the frame `bytes[start .. end)`, whose body begins behind the header. */
export function writePeerHeader(bytes: Uint8Array, start: number, end: number): void {
  const body = start + PEER_HEADER_BYTES;
  writeUint32(bytes, start, end - body + CHECKSUM_BYTES);
  writeUint32(bytes, start + FRAME_HEADER_BYTES, crc32c(bytes.subarray(body, end)));
}

export function encodePeerFrame(body: Uint8Array): Uint8Array {
  const frame = new Uint8Array(PEER_HEADER_BYTES + body.length);
  frame.set(body, PEER_HEADER_BYTES);
  writePeerHeader(frame, 0, frame.length);
  return frame;
}

/** Finds frames in a stream of chunks and checks them. */
export class PeerFrameSplitter {
  /** The body that `next` found: `bytes[start .. end)`. A view of a chunk as it came, or of a copy when it crossed chunks; nobody writes there. */
  bytes: Uint8Array = new Uint8Array(0);
  start = 0;
  end = 0;
  /** Frames that `next` found so far. */
  taken = 0;
  readonly #splitter: FrameSplitter;

  constructor(maxBodyBytes: number) {
    this.#splitter = new FrameSplitter(maxBodyBytes + CHECKSUM_BYTES);
  }

  /** A longer declared length is refused before anything is allocated. */
  set maxBodyBytes(bytes: number) {
    this.#splitter.maxFrameBytes = bytes + CHECKSUM_BYTES;
  }

  /** The beginning of a frame has come and its end has not. */
  get inFrame(): boolean {
    return this.#splitter.inFrame;
  }

  push(chunk: Uint8Array): void {
    this.#splitter.push(chunk);
  }

  /** False when the next frame has not come completely. Throws `too_large`, or `corruption` for a wrong checksum. */
  next(): boolean {
    const splitter = this.#splitter;
    if (!splitter.next()) return false;
    const { bytes, start, end } = splitter;
    const length = end - start;
    if (length < CHECKSUM_BYTES) {
      throw new CairnError(
        'corruption',
        `expected a frame with a checksum of ${CHECKSUM_BYTES} bytes, found ${length} bytes`,
      );
    }
    const expected = readUint32(bytes, start);
    const found = crc32c(bytes.subarray(start + CHECKSUM_BYTES, end));
    if (found !== expected) {
      throw new CairnError('corruption', `expected a frame with the checksum ${expected}, found ${found}`);
    }
    this.bytes = bytes;
    this.start = start + CHECKSUM_BYTES;
    this.end = end;
    this.taken++;
    return true;
  }
}

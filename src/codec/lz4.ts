import { compressSync, uncompressSync } from 'lz4-napi';
import { readUint32 } from '../base/bytes.js';
import { CorruptionError } from '../base/errors.js';

/**
 * LZ4 blocks as lz4-napi writes them: the size of the original as u32 little endian, then the LZ4 block. The library allocates
 * what that prefix says and returns less without an error when the block holds less, so both are checked here.
 */
export const LZ4_PREFIX_BYTES = 4;
/** No byte of an LZ4 block stands for more than 255 bytes of output. */
const MAX_RATIO = 255;

/**
 * The result lies outside of V8's heap and is given back when a turn of the thread's event loop follows its collection: about 600
 * bytes for each 4 KiB compressed stayed in a loop that never turned. What `lz4Decompress` gives is ordinary memory.
 */
export function lz4Compress(bytes: Uint8Array): Uint8Array {
  return plainView(compressSync(asBuffer(bytes)));
}

/** Throws CorruptionError when `bytes` declare more than `maxBytes` or do not give exactly what they declare. */
export function lz4Decompress(bytes: Uint8Array, maxBytes: number, where: string): Uint8Array {
  if (bytes.length <= LZ4_PREFIX_BYTES) {
    throw new CorruptionError(where, `more than ${LZ4_PREFIX_BYTES} bytes of LZ4`, `${bytes.length}`);
  }
  const declaredBytes = readUint32(bytes, 0);
  const cap = Math.min(maxBytes, (bytes.length - LZ4_PREFIX_BYTES) * MAX_RATIO);
  if (declaredBytes > cap) {
    throw new CorruptionError(where, `a declared size of at most ${cap} bytes`, `${declaredBytes}`);
  }
  let output: Buffer;
  try {
    output = uncompressSync(bytes);
  } catch (cause) {
    throw new CorruptionError(where, `an LZ4 block of ${declaredBytes} bytes`, String(cause));
  }
  if (output.length !== declaredBytes) {
    throw new CorruptionError(where, `${declaredBytes} bytes out of LZ4`, `${output.length}`);
  }
  return plainView(output);
}

/** lz4-napi's types ask for a Buffer where its code takes any Uint8Array. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Plain Uint8Arrays everywhere keep the hot loops over them monomorphic. */
function plainView(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length);
}

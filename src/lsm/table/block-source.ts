import type { Block } from './block.js';
import type { BlockHandle } from './format.js';

/**
 * Where decoded blocks come from. On the main thread a block cache over asynchronous reads; in a worker a
 * synchronous read, which always answers `getCached`.
 *
 * Cursors keep views on blocks they were given, so a source must never write into a block's bytes again.
 */
export interface BlockSource {
  getCached(fileNumber: number, handle: BlockHandle): Block | undefined;
  /** Reads, verifies (`readBlock`) and caches the block. Rejects with CorruptionError or DiskError. */
  load(fileNumber: number, handle: BlockHandle): Promise<Block>;
}

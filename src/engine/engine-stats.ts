import { totalBytes } from '../lsm/version/table-file.js';
import type { BlockCache } from './cache/block-cache.js';
import type { Manifest } from './manifest/manifest.js';
import type { FlushPipeline } from './memtables/flush-pipeline.js';
import type { MemtableSet } from './memtables/memtable-set.js';
import type { Compactor } from './tree/compactor.js';
import type { VersionSet } from './tree/version-set.js';

export interface EngineStats {
  /** Used in the active memtable. */
  readonly memtableBytes: number;
  readonly frozenMemtables: number;
  /** Arenas of all memtables, spare ones included. */
  readonly memtableArenaBytes: number;
  readonly levels: readonly { readonly files: number; readonly bytes: number }[];
  /** Indexes and filters of open tables, about. */
  readonly tableMetaBytes: number;
  readonly manifestBytes: number;
  readonly flushedTables: number;
  readonly flushedBytes: number;
  readonly compactions: number;
  readonly compactionRunning: boolean;
  readonly compactionMovedTables: number;
  readonly compactionReadBytes: number;
  readonly compactionWrittenBytes: number;
  readonly blockCacheBytes: number;
  readonly blockCacheBlocks: number;
  readonly blockCacheHits: number;
  readonly blockCacheMisses: number;
}

export function collectStats(
  memtables: MemtableSet,
  versions: VersionSet,
  cache: BlockCache,
  flushes: FlushPipeline,
  compactor: Compactor,
  manifest: Manifest,
): EngineStats {
  const { version, levels } = versions.current;
  return {
    memtableBytes: memtables.active.memtable.usedBytes,
    frozenMemtables: memtables.frozen.length,
    memtableArenaBytes: memtables.arenaBytes,
    levels: version.levels.map((tables) => ({ files: tables.length, bytes: totalBytes(tables) })),
    tableMetaBytes: levels.flat().reduce((sum, { reader }) => sum + reader.memoryBytes, 0),
    manifestBytes: manifest.sizeBytes,
    flushedTables: flushes.flushedTables,
    flushedBytes: flushes.flushedBytes,
    compactions: compactor.compactions,
    compactionRunning: compactor.running,
    compactionMovedTables: compactor.movedTables,
    compactionReadBytes: compactor.readBytes,
    compactionWrittenBytes: compactor.writtenBytes,
    blockCacheBytes: cache.bytes,
    blockCacheBlocks: cache.count,
    blockCacheHits: cache.hits,
    blockCacheMisses: cache.misses,
  };
}

import { CairnError, CorruptionError } from '../base/errors.js';
import type { Logger } from '../base/logger.js';
import { Engine, type EngineJobs, type GroupState } from '../engine/engine.js';
import { Log } from '../engine/log/log.js';
import type { Clock } from '../ports/clock.js';
import type { Disk, SyncDisk } from '../ports/disk.js';
import type { Executor } from '../ports/executor.js';
import type { LogWriterFactory } from '../ports/log-writer.js';
import type { Random } from '../ports/random.js';
import type { EntryKind } from '../replica/command.js';
import { Group } from '../replica/group.js';
import { RevisionClock } from '../replica/revision-clock.js';
import { GroupHost } from './group-host.js';
import { createIdentity, IDENTITY_FILE, readIdentity, writeIdentity, type NodeIdentity } from './node-identity.js';

/** Partition p is group p + 1; group 0 is kept for the meta group. */
const FIRST_PARTITION_GROUP = 1;
const LOG_DIRECTORY = 'log';

export interface LocalNodeOptions {
  readonly nodeId: string;
  readonly dataDir: string;
  /** 0: as the data directory says. */
  readonly partitions: number;
  readonly replicationFactor: number;
  readonly memtableSizeBytes: number;
  readonly blockCacheSizeBytes: number;
  readonly logSegmentSizeBytes: number;
  readonly historyWindowMs: number;
  readonly requestTimeoutMs: number;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly executor: Executor<EngineJobs>;
  readonly logWriter: LogWriterFactory;
  readonly logger: Logger;
  /** The node can't go on: a failed sync, a broken invariant of the storage. The process has to end. */
  readonly onFatal: (error: Error) => void;
}

export interface LocalNode {
  readonly identity: NodeIdentity;
  readonly engine: Engine;
  readonly log: Log;
  readonly host: GroupHost;
  readonly revisionClock: RevisionClock;
  /** Finishes what was accepted, then closes all files. */
  close(): Promise<void>;
}

/**
 * Opens or makes a data directory and brings its groups up: manifest, then log replay into memtables, then the first
 * entries of a new term. When it resolves, everything acknowledged before is there. The caller holds the directory's lock.
 */
export async function openLocalNode(options: LocalNodeOptions): Promise<LocalNode> {
  const { disk, dataDir, logger } = options;
  const identity = claimDirectory(disk.blocking, options);
  const groups = new Map<number, Group>();
  const engine = await Engine.open({
    directory: dataDir,
    disk,
    executor: options.executor,
    clock: options.clock,
    memtableSizeBytes: options.memtableSizeBytes,
    blockCacheSizeBytes: options.blockCacheSizeBytes,
    historyWindowMs: options.historyWindowMs,
    onError: options.onFatal,
    logger,
  });
  await bringUpGroups(engine, identity, groups);
  const replay = new Replay(groups);
  const log = await Log.open({
    directory: `${dataDir}/${LOG_DIRECTORY}`,
    disk,
    clock: options.clock,
    random: options.random,
    writer: options.logWriter,
    segmentSizeBytes: options.logSegmentSizeBytes,
    onFatal: options.onFatal,
    logger,
  });
  return { identity, engine, log } as unknown as LocalNode;
}

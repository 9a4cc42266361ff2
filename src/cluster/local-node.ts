import { CorruptionError } from '../base/errors.js';
import type { Logger } from '../base/logger.js';
import { mutated } from '../base/mutations.js';
import { Engine } from '../engine/engine.js';
import type { EngineJobs } from '../engine/jobs/jobs.js';
import type { EngineOptions } from '../engine/engine-options.js';
import { CURRENT_NAME, CURRENT_TEMPORARY_NAME, parseManifestName } from '../engine/manifest/format.js';
import { Log } from '../engine/log/log.js';
import type { LogOptions } from '../engine/log/log-options.js';
import type { BlockReaderThread } from '../ports/block-reader-thread.js';
import type { Clock, Timer } from '../ports/clock.js';
import type { Disk, SyncDisk } from '../ports/disk.js';
import type { Executor } from '../ports/executor.js';
import type { LogWriter } from '../ports/log-writer.js';
import type { Random } from '../ports/random.js';
import { emptyGroupState, type GroupState } from '../lsm/version/version-edit.js';
import { encodeConfiguration } from '../raft/configuration-codec.js';
import { NO_CONFIGURATION } from '../raft/configuration.js';
import { DEFAULT_RAFT_OPTIONS, type RaftEnvironment, type RaftOptions } from '../raft/options.js';
import { Raft } from '../raft/raft.js';
import { Group } from '../replica/group.js';
import { RevisionClock } from '../replica/revision-clock.js';
import { ClusterClocks } from './host/cluster-clocks.js';
import { GroupHost } from './group-host.js';
import { NO_TRANSPORT, type RaftTransport } from './host/raft-transport.js';
import { createIdentity, IDENTITY_FILE, readIdentity, writeIdentity, type NodeIdentity } from './node-identity.js';
import { GroupRecovery } from './recover-groups.js';
import { Repairs } from './repairs.js';

/** Partition p is group p + 1; group 0 is kept for the meta group. */
const FIRST_PARTITION_GROUP = 1;
const LOG_DIRECTORY = 'log';
/** The log may be so many times as large as a memtable before a flush is asked for. */
const LOG_TO_MEMTABLE = 4;
/** How often a tree that has nothing else to do writes a table again for its garbage: 3 MB/s with tables of 32 MB. */
const GARBAGE_INTERVAL_MS = 10_000;
/** Raft's interval of time: a follower waits 1 to 2 s for its leader, a leader speaks every 100 ms. */
const TICK_MS = 50;
/** Entries that were applied and are kept for followers that are behind, for all groups together. */
const KEPT_ENTRIES_BYTES = 64 << 20;
/** How often it is looked whether damaged groups are whole again. */
const REPAIR_CHECK_MS = 1000;
const NOTHING_RECORDED = { index: 0, configuration: NO_CONFIGURATION };
const STORAGE_DIRECTORIES = [LOG_DIRECTORY, 'tables'];
/** A batch's part for one partition: an HTTP body of 16 MiB and what the operations add. */
const MAX_ENTRY_BYTES = 17 << 20;

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
  readonly logWriter: LogWriter;
  /** Reads blocks of tables; without it they are read through `disk`. */
  readonly blockReaderThread?: BlockReaderThread;
  readonly logger: Logger;
  /** The nodes that a new cluster begins with, this one among them; this one alone unless told. */
  readonly members?: readonly string[];
  /** For a new data directory that belongs to a cluster of several; random unless told. */
  readonly clusterId?: string;
  readonly transport?: RaftTransport;
  /** As `GroupHost.missingMembers`. */
  readonly missingMembers?: () => readonly string[];
  /** The node can't go on: a failed sync, a broken invariant of the storage. The process has to end. */
  readonly onFatal: (error: Error) => void;
  readonly onLogWrite?: (durationMs: number, bytes: number, records: number) => void;
  /** Largest part of a batch in one partition; the log's ring has twice the size. */
  readonly maxEntryBytes?: number;
  /** Sizes and limits that users have no option for; the simulator makes them tiny. */
  readonly tuning?: Pick<EngineOptions, 'targetTableSizeBytes' | 'levelBaseSizeBytes' | 'level0'> &
    Pick<LogOptions, 'ringBytes'> & {
      readonly garbageIntervalMs?: number;
      readonly tickMs?: number;
      readonly raft?: Partial<RaftOptions>;
    };
}

export interface LocalNode {
  readonly identity: NodeIdentity;
  readonly engine: Engine;
  readonly log: Log;
  readonly host: GroupHost;
  readonly revisionClock: RevisionClock;
  /** Largest payload of one entry. */
  readonly maxEntryBytes: number;
  /** Finishes what was accepted, then closes all files. */
  close(): Promise<void>;
}

/**
 * Opens or makes a data directory and brings its groups up: manifest, then log replay into memtables, then the first
 * entries of a new term. When it resolves, everything acknowledged before is there. The caller holds the directory's lock.
 */
export async function openLocalNode(options: LocalNodeOptions): Promise<LocalNode> {
  const { disk, dataDir, logger, onFatal } = options;
  const identity = claimDirectory(disk.blocking, options);
  const isNew = identity.logId === '';
  let groups: readonly Group[] = [];
  let host: GroupHost | null = null;
  let log: Log | null = null;
  let revisionClock: RevisionClock | null = null;
  const releaseLog = (): void => {
    if (log === null) return;
    // What the manifest says, not what the flush captured: a replica that came later has its entries in the log alone.
    const indexes = engine.flushedIndexes();
    log.releaseBefore((_group, replicaId) => indexes.get(replicaId) ?? Infinity).catch(onFatal);
  };
  const engine = await Engine.open({
    ...options.tuning,
    directory: dataDir,
    disk,
    executor: options.executor,
    clock: options.clock,
    memtableSizeBytes: options.memtableSizeBytes,
    blockCacheSizeBytes: options.blockCacheSizeBytes,
    ...(options.blockReaderThread === undefined ? {} : { blockReaderThread: options.blockReaderThread }),
    historyWindowMs: options.historyWindowMs,
    nowRevision: () => revisionClock?.boundNow() ?? 0,
    captureAppliedState: () => ({
      groups: groups.filter((group) => !group.isInstalling).map(groupState),
      clockBound: log?.clockBound ?? 0,
    }),
    onFlushed: releaseLog,
    onError: onFatal,
    log: logger,
  });
  try {
    const states = await groupStates(engine, identity);
    const replay = new GroupRecovery(engine, identity.nodeId, identity.members, states);
    const startedMs = options.clock.monotonicMs();
    const maxEntryBytes = options.maxEntryBytes ?? MAX_ENTRY_BYTES;
    log = Log.open(
      {
        directory: `${dataDir}/${LOG_DIRECTORY}`,
        disk,
        clock: options.clock,
        random: options.random,
        writer: options.logWriter,
        expectedLogId: isNew ? null : Buffer.from(identity.logId, 'hex'),
        maxEntryBytes,
        segmentBytes: options.logSegmentSizeBytes,
        isRepairable: identity.members.length > 1,
        ...options.tuning,
        onDurable: (sequence) => host?.durable(sequence),
        onAdmission: () => host?.admissionChanged(),
        onGivenBack: (ranges) => host?.logReleased(ranges),
        onFatal,
        // Many small or lonely records fill segments long before the memtable; a flush lets the segments go.
        sizeBoundBytes: LOG_TO_MEMTABLE * options.memtableSizeBytes + 2 * options.logSegmentSizeBytes,
        onWarning: (message) => {
          logger.info({}, `flushing: ${message}`);
          options.clock.defer(() => void engine.flush().catch(onFatal));
        },
        ...(options.onLogWrite === undefined ? {} : { onWrite: options.onLogWrite }),
      },
      replay,
    );
    const { entryCount, tornBytes } = log.recovered;
    if (entryCount > 0 || tornBytes > 0) {
      const elapsedMs = Math.round(options.clock.monotonicMs() - startedMs);
      logger.info({ entries: entryCount, replayed: replay.appliedCount, tornBytes, elapsedMs }, 'log recovered');
    }
    const flushedBound = log.recovered.endedCleanly ? 0 : engine.recovered.clockBound;
    const recovered = replay.result();
    const repairs = Repairs.open(
      disk,
      dataDir,
      recovered.map(({ raft }) => raft),
    );
    if (repairs.count > 0) {
      const text = 'the log is damaged: these groups do not vote until other nodes have given them what may be lost';
      logger.error({ groups: repairs.count }, text);
    }
    const lastRevisions = recovered.map(({ raft, revision }) => raft.log.entries.at(-1)?.revision ?? revision);
    const recoveredBound = Math.max(flushedBound, log.clockBound, ...lastRevisions);
    let clusterClocks: ClusterClocks | null = null;
    // Until the groups are there nothing is known of other clocks.
    const openClock = new RevisionClock(options.clock, recoveredBound, (ms) => clusterClocks?.capAt(ms) ?? -Infinity);
    revisionClock = openClock;
    groups = recovered.map((start) => {
      const { raft, partition } = start;
      const environment: RaftEnvironment = {
        random: (bound) => options.random.uint32() % bound,
        clock: () => openClock.now(),
        promisedClock: () => openClock.promised,
        wallClock: () => openClock.wall,
        durableClock: () => openClock.durableBound,
        raiseClock: (instant) => {
          if (!mutated('cluster-clock-not-raised')) openClock.raise(instant);
        },
        nextRevision: (above) => host!.nextRevisionAbove(partition, above),
        readToken: () => host!.readToken,
      };
      const isAlone = raft.configuration.configuration.members.length === 1;
      const maxBytesInMemory = isAlone ? 0 : KEPT_ENTRIES_BYTES / recovered.length;
      const limits = { ...DEFAULT_RAFT_OPTIONS, maxBytesInMemory, ...options.tuning?.raft };
      const repairIndex = repairs.indexOf(raft.group);
      return new Group(raft.group, { ...start, raft: new Raft({ ...raft, repairIndex }, environment, limits) });
    });
    clusterClocks = new ClusterClocks(groups, options.clock, openClock);
    host = new GroupHost({
      groups,
      engine,
      log,
      clock: options.clock,
      revisionClock: openClock,
      clusterClocks,
      transport: options.transport ?? NO_TRANSPORT,
      logger,
      onFatal,
      requestTimeoutMs: options.requestTimeoutMs,
      tickMs: options.tuning?.tickMs ?? TICK_MS,
      firstReadToken: randomToken(options.random),
      ...(options.missingMembers === undefined ? {} : { missingMembers: options.missingMembers }),
    });
    await host.startAlone();
    const bound: NodeIdentity = { ...identity, logId: Buffer.from(log.logId).toString('hex') };
    if (isNew) writeIdentity(disk.blocking, dataDir, bound);
    const openHost = host;
    const openLog = log;
    const garbage = every(options.clock, options.tuning?.garbageIntervalMs ?? GARBAGE_INTERVAL_MS, () =>
      engine.collectGarbage(),
    );
    const byId = new Map(groups.map((group) => [group.groupId, group]));
    const lookForRepaired = (): void => repairs.finished((groupId) => byId.get(groupId)?.raft.repairing !== true);
    const repairing = repairs.count === 0 ? null : every(options.clock, REPAIR_CHECK_MS, lookForRepaired);
    return {
      identity: bound,
      engine,
      log,
      host,
      revisionClock: openClock,
      maxEntryBytes,
      async close() {
        garbage.cancel();
        repairing?.cancel();
        await openHost.close();
        await repairs.close();
        await engine.close();
        await openLog.close(() => openClock.stop());
      },
    };
  } catch (error) {
    // The caller gives the directory free, so nothing may write to it any more. The first error is the one to tell.
    await log?.close().catch(() => undefined);
    await engine.close().catch(() => undefined);
    throw error;
  }
}

function every(clock: Clock, intervalMs: number, work: () => void): Timer {
  let timer = clock.setTimer(intervalMs, function next() {
    timer = clock.setTimer(intervalMs, next);
    work();
  });
  return { cancel: () => timer.cancel() };
}

/** Makes or checks the identity file, and clears what an interrupted first start left. */
function claimDirectory(disk: SyncDisk, options: LocalNodeOptions): NodeIdentity {
  const { dataDir } = options;
  const known = readIdentity(disk, dataDir, options);
  if (known !== null && known.logId !== '') return known;
  const leftovers = STORAGE_DIRECTORIES.flatMap((name) => filesIn(disk, `${dataDir}/${name}`)).concat(
    filesIn(disk, dataDir).filter((path) => isManifestFile(path.slice(dataDir.length + 1))),
  );
  if (known === null && leftovers.length > 0) {
    throw new CorruptionError(
      `${dataDir}/${IDENTITY_FILE}`,
      `the identity of a directory with ${leftovers[0]}`,
      'no file',
    );
  }
  for (const path of leftovers) disk.remove(path);
  const identity = known ?? createIdentity(options, options.random);
  if (known === null) writeIdentity(disk, dataDir, identity);
  return identity;
}

function filesIn(disk: SyncDisk, directory: string): string[] {
  return disk.exists(directory) ? disk.list(directory).map((name) => `${directory}/${name}`) : [];
}

function isManifestFile(name: string): boolean {
  return name === CURRENT_NAME || name === CURRENT_TEMPORARY_NAME || parseManifestName(name) !== null;
}

/** Each group's state in the manifest; a new directory's groups are made. */
async function groupStates(engine: Engine, identity: NodeIdentity): Promise<GroupState[]> {
  const groupIds = Array.from({ length: identity.partitions }, (_, partition) => partition + FIRST_PARTITION_GROUP);
  if (identity.logId === '') {
    const replicaIds = await engine.createReplicas(groupIds);
    return replicaIds.map((replicaId, partition) => emptyGroupState(partition + FIRST_PARTITION_GROUP, replicaId));
  }
  return groupIds.map((groupId) => {
    const state = engine.recovered.groups.get(groupId);
    if (state === undefined) {
      throw new CorruptionError('manifest', `the replicas of ${groupIds.length} groups`, `none of group ${groupId}`);
    }
    return state;
  });
}

/** The tokens from here on are of this life alone. A bound on disk would do only if each life wrote a new one before it asks anything. */
function randomToken(random: Random): number {
  return 1 + (random.uint32() % 2 ** 20) * 2 ** 32 + random.uint32();
}

/** What the group has applied, for the manifest. */
function groupState(group: Group): GroupState {
  const { raft } = group;
  const { term, vote } = raft.hardState;
  const { index, configuration } = raft.configurationAt(group.appliedIndex) ?? NOTHING_RECORDED;
  return {
    groupId: group.groupId,
    replicaId: group.replicaId,
    appliedIndex: group.appliedIndex,
    appliedTerm: group.appliedTerm,
    revision: group.appliedRevision,
    term,
    vote,
    memberId: raft.id,
    configIndex: index,
    configuration: encodeConfiguration(configuration),
  };
}

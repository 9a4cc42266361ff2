import type { Logger } from '../../base/logger.js';
import type { Engine } from '../../engine/engine.js';
import type { Log } from '../../engine/log/log.js';
import type { Clock } from '../../ports/clock.js';
import type { Ready } from '../../raft/ready.js';
import type { Group } from '../../replica/group.js';
import type { RevisionClock } from '../../replica/revision-clock.js';
import { SnapshotStreams } from '../snapshot-streams.js';
import { Applying } from './applying.js';
import { ClockBounds } from './clock-bounds.js';
import { EntryLoads } from './entry-loads.js';
import { LogWriting, writingOf } from './log-writing.js';
import { MemberNodes } from './member-nodes.js';
import type { RaftTransport } from './raft-transport.js';
import { Reads } from './reads.js';
import { SnapshotInstalls } from './snapshot-installs.js';
import { TurnSchedule } from './turn-schedule.js';

export interface TurnLoopOptions {
  readonly groups: readonly Group[];
  readonly engine: Engine;
  readonly log: Log;
  readonly clock: Clock;
  readonly revisionClock: RevisionClock;
  readonly transport: RaftTransport;
  readonly logger: Logger;
  readonly onFatal: (error: Error) => void;
  /** As in `GroupHostOptions`. */
  readonly firstReadToken: number;
}

/** Asks the cores at the end of a loop turn, and again when the disk has something for them, and hands on what they say. */
export class TurnLoop {
  readonly turns: TurnSchedule;
  readonly nodes: MemberNodes;
  readonly bounds: ClockBounds;
  readonly writing: LogWriting;
  readonly applying: Applying;
  readonly reads: Reads;
  readonly loads: EntryLoads;
  readonly installs: SnapshotInstalls;
  readonly snapshots: SnapshotStreams;
  readonly #transport: RaftTransport;

  constructor(options: TurnLoopOptions) {
    const { groups, engine, log, clock, revisionClock, transport, logger, onFatal } = options;
    const turns = new TurnSchedule(engine, clock, () => this.endTurn());
    const nodes = new MemberNodes(groups);
    const bounds = new ClockBounds(revisionClock, log, clock, turns);
    const writing = new LogWriting(log, bounds, turns, () => this.#hearCores());
    const applying = new Applying(groups, engine, clock);
    this.#transport = transport;
    this.turns = turns;
    this.nodes = nodes;
    this.bounds = bounds;
    this.writing = writing;
    this.applying = applying;
    this.reads = new Reads({ groups, clock, turns, applying, nodes, firstToken: options.firstReadToken });
    this.loads = new EntryLoads(log, turns);
    this.installs = new SnapshotInstalls({
      groups,
      revisionClock,
      turns,
      writing,
      applying,
      collect: () => this.#collect(),
      onFailed: onFatal,
    });
    this.snapshots = new SnapshotStreams({
      engine,
      logger,
      openBulk: (nodeId, header) => transport.openBulk(nodeId, header),
      onReceived: (group, message, importer) => this.installs.received(group, message, importer),
      onSent: (group, member, wasBegun) => {
        group.raft.reportSnapshot(member, wasBegun);
        turns.schedule(group);
      },
    });
  }

  endTurn(): void {
    this.turns.begin();
    this.#collect();
    this.writing.appendBacklog();
    // The way over another node's disk is the longer one.
    this.#transport.flush();
    this.writing.seal();
    this.applying.run();
  }

  /** At once when something is durable: what is committed now was waiting for the disk, and acknowledgements may leave. */
  #hearCores(): void {
    this.#collect();
    this.#transport.flush();
    this.applying.run();
  }

  /** Asks each core that may have something once. */
  #collect(): void {
    const groups = this.turns.takeGroups();
    if (groups.length === 0) return;
    for (const group of groups) {
      group.isScheduled = false;
      this.#take(group, group.raft.ready());
    }
    this.turns.collectionEnded();
  }

  /** The order of the fields of `Ready` is the order of work. */
  #take(group: Group, ready: Ready): void {
    for (const message of ready.messages) {
      const nodeId = this.nodes.nodeOf(group, message.to);
      if (nodeId !== null) this.#transport.send(nodeId, message);
    }
    if (ready.persist !== null) {
      const writing = writingOf(group, ready.persist);
      this.bounds.mustReach(ready.persist.clockBound);
      if (!this.installs.takes(writing)) this.writing.append(writing);
    }
    if (ready.committed !== null) this.applying.committed(group, ready.committed.from, ready.committed.to);
    for (const read of ready.reads) this.reads.confirmed(group, read);
    for (const token of ready.refusedReads) this.reads.refused(group, token);
    for (const request of ready.loads) this.loads.load(group, request);
    for (const member of ready.snapshotsTo) {
      const nodeId = this.nodes.nodeOf(group, member);
      if (nodeId !== null) this.snapshots.send(group, member, nodeId);
    }
    for (const { verdict } of ready.snapshotVerdicts) this.installs.judged(group, verdict);
  }
}

import { assert } from '../../base/assert.js';
import { CairnError } from '../../base/errors.js';
import { mutated } from '../../base/mutations.js';
import type { ReplicaImporter } from '../../engine/snapshot/replica-importer.js';
import { encodeConfiguration } from '../../raft/configuration-codec.js';
import type { SnapshotMessage, SnapshotMeta } from '../../raft/message.js';
import type { SnapshotVerdict } from '../../raft/ready.js';
import type { Group } from '../../replica/group.js';
import type { RevisionClock } from '../../replica/revision-clock.js';
import type { Applying } from './applying.js';
import type { LogWriting, Writing } from './log-writing.js';
import type { TurnSchedule } from './turn-schedule.js';

interface Install {
  /** Received and shown to the core, which has not said yet whether it wants it. */
  imported: ReplicaImporter | null;
  /** What the core wants on disk behind a snapshot that is being installed. */
  readonly held: Writing[];
}

export interface SnapshotInstallsOptions {
  readonly groups: readonly Group[];
  readonly revisionClock: RevisionClock;
  readonly turns: TurnSchedule;
  readonly writing: LogWriting;
  readonly applying: Applying;
  /** Asks the cores. */
  readonly collect: () => void;
  readonly onFailed: (error: Error) => void;
}

/** Received snapshots on their way to being the group's replica: the core decides, then one manifest edit changes data and log. */
export class SnapshotInstalls {
  readonly #options: SnapshotInstallsOptions;
  readonly #installs = new Map<Group, Install>();

  constructor(options: SnapshotInstallsOptions) {
    this.#options = options;
    for (const group of options.groups) this.#installs.set(group, { imported: null, held: [] });
  }

  received(group: Group, message: SnapshotMessage, importer: ReplicaImporter): void {
    const install = this.#installs.get(group)!;
    if (group.isInstalling || install.imported !== null) {
      throw new CairnError('unavailable', `partition ${group.partition} is installing another snapshot`);
    }
    install.imported = importer;
    group.raft.step(message);
    this.#options.turns.schedule(group);
    // In this very step: the core may have put the snapshot in the place of entries that are waiting to be applied.
    this.#options.collect();
  }

  judged(group: Group, verdict: SnapshotVerdict): void {
    if (verdict === 'install') return;
    const install = this.#installs.get(group)!;
    void install.imported?.abort();
    install.imported = null;
  }

  /** Whether this has to wait for an install, or is one; it then goes to the log behind it. */
  takes(writing: Writing): boolean {
    const { group, request } = writing;
    const isBehind = group.isInstalling && !mutated('cluster-install-overtaken');
    if (request.snapshot === null && !isBehind) return false;
    // An install through the log too, although the manifest's edit has the hard state: what was handed out before may not be durable
    // yet, and writes are reported in order. Found by the simulator (seed 74).
    this.#installs.get(group)!.held.push(writing);
    if (request.snapshot !== null) this.#install(writing, request.snapshot);
    return true;
  }

  /** The core has put the snapshot in the place of its log: now the data takes the place of the replica, by one manifest edit. */
  #install({ group, request }: Writing, meta: SnapshotMeta): void {
    const { revisionClock, turns, writing, applying, onFailed } = this.#options;
    const install = this.#installs.get(group)!;
    const importer = install.imported;
    assert(importer !== null, 'a snapshot is installed after it was received');
    install.imported = null;
    group.isInstalling = true;
    // Committed before, and covered by the snapshot.
    applying.dropCommitted(group);
    const { term, vote } = request.hardState ?? group.raft.hardState;
    const lowest = Math.max(meta.revision, meta.floor);
    revisionClock.raise(lowest);
    const installed = {
      groupId: group.groupId,
      replicaId: importer.replicaId,
      appliedIndex: meta.index,
      appliedTerm: meta.term,
      revision: meta.revision,
      term,
      vote,
      memberId: group.raft.id,
      configIndex: meta.configIndex,
      configuration: encodeConfiguration(meta.configuration),
    };
    const onInstalled = (): void => {
      group.installed(importer.replicaId, meta.index, meta.term, meta.revision);
      group.isInstalling = false;
      group.raft.applied(meta.index);
    };
    importer.finish(installed, { floor: meta.floor, clockBound: lowest, onInstalled }).then(
      () => {
        for (const held of install.held.splice(0)) writing.append(held);
        applying.skippedTo(group, meta.index);
        turns.schedule(group);
      },
      (error: unknown) => onFailed(error instanceof Error ? error : new Error(String(error))),
    );
  }
}

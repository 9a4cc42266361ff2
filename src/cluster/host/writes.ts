import { CairnError } from '../../base/errors.js';
import { mutated } from '../../base/mutations.js';
import type { Engine } from '../../engine/engine.js';
import type { Log } from '../../engine/log/log.js';
import type { Revision } from '../../lsm/row-key.js';
import type { Clock } from '../../ports/clock.js';
import type { Entry } from '../../raft/entry.js';
import type { ProposalRefusal } from '../../raft/ready.js';
import type { EntryDone, Group } from '../../replica/group.js';
import { PayloadSlabs } from '../../replica/payload-slabs.js';
import type { TurnLoop } from './turn-loop.js';

export interface WritesOptions {
  readonly engine: Engine;
  readonly log: Log;
  readonly clock: Clock;
  readonly loop: TurnLoop;
  /** No other node needs the payloads. */
  readonly isAlone: boolean;
}

/** This node's own writes: whether one can be taken, its place in its group's log, and why it got none. */
export class Writes {
  readonly #options: WritesOptions;
  readonly #slabs: PayloadSlabs;
  /** Proposed since the cores were last asked for what goes to the log, which was then. */
  #collected = 0;
  #proposed = 0;
  #proposedBytes = 0;
  /** Why the last `append` was not taken by the core; null when it was, or the log had no room. */
  #refusal: ProposalRefusal | null = null;
  #closed = false;

  constructor(options: WritesOptions) {
    this.#options = options;
    this.#slabs = new PayloadSlabs(options.isAlone);
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  close(): void {
    this.#closed = true;
  }

  /** Where `append` wants the payload. */
  get payloads(): Uint8Array {
    return this.#slabs.bytes;
  }

  /** As `GroupHost.append`. */
  append(group: Group, revision: Revision, payloadLength: number, keyHash: number, done: EntryDone | null): number {
    const { log, clock } = this.#options;
    const { turns, bounds } = this.#options.loop;
    this.#refusal = null;
    this.#forgetCollected(turns.collected);
    if (!log.wouldTake(this.#proposed + 1, this.#proposedBytes + payloadLength, payloadLength)) return -1;
    const at = this.#slabs.take(payloadLength);
    const { bytes } = this.#slabs;
    const entry: Entry | ProposalRefusal = group.raft.propose(
      revision,
      new Uint8Array(bytes.buffer, bytes.byteOffset + at, payloadLength),
    );
    if (typeof entry === 'string') {
      this.#refusal = entry;
      return -1;
    }
    this.#proposed++;
    this.#proposedBytes += payloadLength;
    turns.schedule(group);
    if (mutated('cluster-answer-before-commit')) clock.defer(() => done?.(null, revision));
    group.appended({ group, entry, keyHash, appendedAtMs: turns.startedMs, done, rows: null });
    bounds.gave(revision);
    return at;
  }

  /** What was proposed before is with `LogWriting` now. */
  #forgetCollected(collected: number): void {
    if (collected === this.#collected) return;
    this.#collected = collected;
    this.#proposed = 0;
    this.#proposedBytes = 0;
  }

  /** Why no write can be taken now, or null. Checked before every append, so that nothing accepted can fail for space. */
  admission(): CairnError | null {
    const { log, loop, engine } = this.#options;
    if (this.#closed) return new CairnError('shutting_down', 'this node is shutting down');
    if (log.admission === 'disk_full') return diskFull('the log');
    if (loop.writing.hasBacklog) return this.logRefusal();
    if (engine.pressure === 'stop') {
      const reason = engine.pressureReason;
      if (reason === 'disk_full') return diskFull('tables');
      return new CairnError('overloaded', `writes wait for the storage engine (${reason}); retry`);
    }
    return null;
  }

  /** Why the last `append` returned -1. */
  refusal(): CairnError {
    if (this.#refusal === 'overloaded') {
      return new CairnError('overloaded', 'more writes wait for a quorum than one partition may have; retry');
    }
    if (this.#refusal !== null) {
      return new CairnError('not_ready', 'the leadership of the partition is being handed over; retry');
    }
    return this.logRefusal();
  }

  logRefusal(): CairnError {
    if (this.#options.log.refusal === 'disk_full') return diskFull('the log');
    return new CairnError('overloaded', 'more writes wait for the disk than the log can hold; retry');
  }
}

function diskFull(what: string): CairnError {
  return new CairnError('disk_full', `no space left for ${what}; reads go on, writes resume when there is space`);
}

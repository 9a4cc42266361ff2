import { assert } from '../../base/assert.js';
import type { Revision } from '../../lsm/row-key.js';
import { REVISION_UNITS_PER_MS } from '../engine-options.js';
import type { VersionSet } from './version-set.js';

/** Keeps the versions visible at `revision` from being dropped until it is released. */
export interface RevisionPin {
  readonly revision: Revision;
  /** No effect a second time. */
  release(): void;
}

/**
 * The history floor: reads at or above it see what they would have seen then. It is durable before any compaction uses it
 * (LSM rule 17), and announced before it is durable, so that no reader starts below it meanwhile.
 */
export class History {
  readonly #versions: VersionSet;
  readonly #windowUnits: number;
  readonly #nowRevision: () => Revision;
  readonly #pins = new Set<RevisionPin>();
  /** Called when a pin is released. */
  #waiters: (() => void)[] = [];
  #announced: Revision;

  constructor(versions: VersionSet, windowMs: number, nowRevision: () => Revision) {
    this.#versions = versions;
    this.#windowUnits = windowMs * REVISION_UNITS_PER_MS;
    this.#nowRevision = nowRevision;
    this.#announced = versions.current.version.historyFloor;
  }

  /** Reads below it are refused. */
  get floor(): Revision {
    return this.#announced;
  }

  get pinCount(): number {
    return this.#pins.size;
  }

  pin(revision: Revision): RevisionPin {
    assert(revision >= this.#announced, `pinning ${revision}, below the history floor ${this.#announced}`);
    const pin = {
      revision,
      release: () => {
        this.#pins.delete(pin);
        for (const wake of this.#waiters.splice(0)) wake();
      },
    };
    this.#pins.add(pin);
    return pin;
  }

  /** Where `advance` would move the floor to. */
  get attainable(): Revision {
    let target = Math.max(this.#announced, this.#nowRevision() - this.#windowUnits);
    for (const pin of this.#pins) target = Math.min(target, pin.revision);
    return Math.max(this.#versions.current.version.historyFloor, Math.floor(target));
  }

  /**
   * No reader begins below `floor` from now on; resolves when none is left there, and the caller may make it the durable floor. For
   * data that comes without its older history: a snapshot of another node.
   */
  async raise(floor: Revision): Promise<void> {
    this.#announced = Math.max(this.#announced, floor);
    while ([...this.#pins].some((pin) => pin.revision < floor)) {
      await new Promise<void>((resolve) => void this.#waiters.push(resolve));
    }
  }

  /** Moves the floor up to the history window's start, but not above the oldest pin; durable when it resolves. */
  async advance(): Promise<Revision> {
    const floor = this.attainable;
    this.#announced = Math.max(this.#announced, floor);
    if (floor > this.#versions.current.version.historyFloor) {
      await this.#versions.commit((version) => ({ historyFloor: Math.max(version.historyFloor, floor) }));
    }
    return this.#versions.current.version.historyFloor;
  }
}

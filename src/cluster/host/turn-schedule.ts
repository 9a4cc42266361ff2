import type { Engine } from '../../engine/engine.js';
import type { Clock } from '../../ports/clock.js';
import type { Group } from '../../replica/group.js';

/** When the engine asks for slower writes, a loop turn's record waits this long: closed-loop writers slow down with it. */
const SLOW_SEAL_DELAY_MS = 5;

/** What the end of this loop turn has to do, and that it comes. */
export class TurnSchedule {
  readonly #engine: Engine;
  readonly #clock: Clock;
  readonly #endTurn: () => void;
  /** Groups whose cores may have something to say. */
  #groups: Group[] = [];
  #isComing = false;
  /** The log's record is to be closed, though no core has anything to say. */
  sealNeeded = false;
  startedMs = 0;
  /** How often the cores were asked. */
  #collected = 0;

  constructor(engine: Engine, clock: Clock, endTurn: () => void) {
    this.#engine = engine;
    this.#clock = clock;
    this.#endTurn = endTurn;
  }

  schedule(group: Group): void {
    if (!group.isScheduled) {
      group.isScheduled = true;
      this.#groups.push(group);
    }
    this.#request();
  }

  requestSeal(): void {
    this.sealNeeded = true;
    this.#request();
  }

  #request(): void {
    if (this.#isComing) return;
    this.#isComing = true;
    this.startedMs = this.#clock.monotonicMs();
    if (this.#engine.pressure === 'slow') this.#clock.setTimer(SLOW_SEAL_DELAY_MS, this.#endTurn);
    else this.#clock.defer(this.#endTurn);
  }

  /** The turn ends now; from here on another one is asked for. */
  begin(): void {
    this.#isComing = false;
  }

  /** Rises when all that was scheduled has been asked. */
  get collected(): number {
    return this.#collected;
  }

  collectionEnded(): void {
    this.#collected++;
  }

  /** The groups to ask; they may be scheduled again from here on. */
  takeGroups(): readonly Group[] {
    const groups = this.#groups;
    if (groups.length > 0) this.#groups = [];
    return groups;
  }
}

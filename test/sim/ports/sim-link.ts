import type { Prng } from '../../../src/base/prng.js';
import { drawDelayMs, type Delay } from './delay.js';

/** What one direction between two hosts does to what it carries. */
export interface LinkProfile {
  readonly latency: Delay;
  /** Shared by all connections between the hosts; Infinity for no limit. */
  readonly bytesPerMs: number;
  /** Of a segment's packets: TCP sends them again, which takes longer each time and holds up what follows. */
  readonly lossProbability: number;
  /** That a segment arrives with one bit flipped, which TCP's checksum should have seen and did not. */
  readonly corruptionProbability: number;
}

const FIRST_RETRANSMIT_MS = 200;
const MOST_RETRANSMITS = 6;

/** All that travels from one host to another. */
export class SimLink {
  readonly from: string;
  readonly to: string;
  profile: LinkProfile;
  /** Since when it drops everything. */
  cutSinceMs: number | undefined;
  #busyUntilMs = 0;
  readonly #prng: Prng;

  constructor(from: string, to: string, profile: LinkProfile, prng: Prng) {
    this.from = from;
    this.to = to;
    this.profile = profile;
    this.#prng = prng;
  }

  /** As it was in the beginning, with nothing under way. */
  restore(profile: LinkProfile): void {
    this.profile = profile;
    this.#busyUntilMs = 0;
  }

  /** How long until a segment of this size, sent now, is there. */
  travelMs(nowMs: number, bytes: number): number {
    const { bytesPerMs, latency, lossProbability } = this.profile;
    this.#busyUntilMs = Math.max(nowMs, this.#busyUntilMs) + bytes / bytesPerMs;
    let lostMs = 0;
    for (
      let tries = 0;
      tries < MOST_RETRANSMITS && lossProbability > 0 && this.#prng.chance(lossProbability);
      tries++
    ) {
      lostMs += FIRST_RETRANSMIT_MS * 2 ** tries;
    }
    return this.#busyUntilMs - nowMs + drawDelayMs(latency, this.#prng) + lostMs;
  }

  /** The segment as it arrives: itself, or now and then a copy with a flipped bit. */
  carry(bytes: Uint8Array): Uint8Array {
    const { corruptionProbability } = this.profile;
    if (corruptionProbability === 0 || !this.#prng.chance(corruptionProbability)) return bytes;
    const changed = bytes.slice();
    const at = this.#prng.below(changed.length);
    changed[at]! ^= 1 << this.#prng.below(8);
    return changed;
  }
}

import type { Prng } from '../../src/base/prng.js';
import type { Operation, Outcome } from '../sim/checkers/operation.js';
import type { ClusterClient } from '../sim/cluster/cluster-client.js';
import type { RestOfGeneration } from './generation.js';
import { sleep } from './system.js';
import { ChaosViolation } from './violation.js';

const PREFIX = 'bulk/';
const KEYS = 400;
const BATCH = 20;
/** Of noise, which is written as a third more characters. */
const NOISE_BYTES = 9000;
const VALUE_BYTES = 12_000;
const PAUSE_MS = 50;
/** Without any write acknowledged. */
const LIMIT_MS = 30_000;

/** Large values under the same keys, written over and over by one client. */
export class Bulk {
  readonly #prng: Prng;
  readonly #written = new Map<string, Operation>();
  /** Those that may yet take place. */
  readonly #open: Operation[] = [];
  #next = 1;

  constructor(prng: Prng) {
    this.#prng = prng;
  }

  /** What reads are measured by. */
  get rest(): RestOfGeneration {
    return { prefix: PREFIX, operations: [...this.#written.values(), ...this.#open] };
  }

  async write(client: ClusterClient, bytes: number): Promise<void> {
    let lastMs = performance.now();
    for (let left = bytes; left > 0;) {
      const entries = Array.from({ length: BATCH }, () => {
        const number = this.#next++;
        return { key: String(number % KEYS), value: `${number}:${this.#noise()}` };
      });
      const outcomes = await client.batch(entries.map(({ key, value }) => ({ key: PREFIX + key, value })));
      const written = entries.filter(({ key, value }, i) => this.#note(key, value, outcomes[i]!)).length;
      left -= written * VALUE_BYTES;
      if (written > 0) lastMs = performance.now();
      else if (performance.now() - lastMs > LIMIT_MS)
        throw new ChaosViolation(`promise 4: no write for ${LIMIT_MS} ms`);
      if (written < BATCH) await sleep(PAUSE_MS);
    }
  }

  #note(key: string, value: string, outcome: Outcome): boolean {
    const call = { kind: 'put', value, condition: null } as const;
    const operation = { id: this.#next, client: 0, key, call, outcome, invoked: 0, returned: 1 };
    if (outcome.kind === 'written') this.#written.set(key, operation);
    else if (outcome.kind === 'unknown') this.#open.push({ ...operation, returned: Infinity });
    return outcome.kind === 'written';
  }

  /** Text that can't be compressed away. */
  #noise(): string {
    const bytes = Buffer.alloc(NOISE_BYTES);
    this.#prng.fill(bytes);
    return bytes.toString('base64');
  }
}

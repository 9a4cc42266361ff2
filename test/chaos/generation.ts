import type { Prng } from '../../src/base/prng.js';
import { checkDurability, type FinalValue } from '../sim/checkers/durability.js';
import { byKey, UndecidedError } from '../sim/checkers/linearizability.js';
import type { Operation } from '../sim/checkers/operation.js';
import { checkHistory } from '../sim/cluster/check-history.js';
import { ClientHistory } from '../sim/cluster/client-history.js';
import type { ClusterClient } from '../sim/cluster/cluster-client.js';
import { Reached } from '../sim/cluster/reached.js';
import type { CallKind, WorkloadShape } from '../sim/cluster/swarm.js';
import { Workload } from '../sim/cluster/workload.js';
import { sleep } from './system.js';
import { ChaosViolation } from './violation.js';

/** Rounds of reading, 200 ms apart, until every key of a generation is known. */
const READ_ROUNDS = 600;

/** One generation's keys as they were read at its end, and the writes that may yet take place. */
export interface RestOfGeneration {
  readonly prefix: string;
  readonly operations: readonly Operation[];
}

export type Verdict = 'checked' | 'undecided';

/**
 * Some keys for some seconds, and all that was asked of them. Then others take their place, so that the history to check stays
 * short however long a run is: the search for an order grows with the operations and with the unanswered ones among them.
 */
export class Generation {
  readonly prefix: string;
  readonly history: ClientHistory;
  readonly #workload: Workload;
  readonly #reached = new Reached();
  readonly #lives: Promise<void>[] = [];

  constructor(number: number, prng: Prng, hasScans: boolean) {
    this.prefix = `g${number}/`;
    this.history = new ClientHistory(() => performance.now());
    this.#workload = new Workload({
      prng: prng.fork(),
      shape: drawShape(prng, hasScans),
      history: this.history,
      reached: this.#reached,
      sleep,
      nowMs: () => performance.now(),
    });
  }

  begin(client: number, asked: ClusterClient): void {
    this.#lives.push(this.#workload.run(client, asked));
  }

  /** Ends the calls, reads every key, and checks all. Throws a HistoryViolation of the simulator's checkers. */
  async finish(reader: ClusterClient): Promise<{ readonly verdict: Verdict; readonly rest: RestOfGeneration }> {
    this.#workload.stop();
    await Promise.all(this.#lives);
    const final = await this.#workload.readAll(reader, READ_ROUNDS);
    if (final === undefined) {
      throw new ChaosViolation(`promise 4: not all keys of ${this.prefix} could be read within ${READ_ROUNDS / 5} s`);
    }
    let verdict: Verdict = 'checked';
    try {
      checkHistory(this.history, final);
    } catch (error) {
      if (!(error instanceof UndecidedError)) throw error;
      verdict = 'undecided';
    }
    return { verdict, rest: { prefix: this.prefix, operations: restOf(this.history.operations, final) } };
  }
}

function drawShape(prng: Prng, hasScans: boolean): WorkloadShape {
  const calls = new Map<CallKind, number>([
    ['get', 4],
    ['stale-get', 2],
    ['put', 4],
    ['conditional-put', 3],
    ['delete', 1],
    ['conditional-delete', 1],
    ['batch', 1],
  ]);
  if (hasScans) calls.set('scan', 2).set('past-scan', 1);
  return {
    clients: 0,
    keys: prng.pick([4, 8, 12]),
    calls,
    hotShare: prng.pick([0, 0.2, 0.5]),
    longestPauseMs: 40,
    lulls: false,
    longestBatch: 4,
    longestValueBytes: prng.pick([0, 100, 4000]),
    ttlShare: 0,
  };
}

/** What later reads are measured by: the value that was found, and what nobody was told about. */
function restOf(operations: readonly Operation[], final: ReadonlyMap<string, FinalValue | null>): Operation[] {
  const open = operations.filter(({ call, outcome }) => call.kind !== 'get' && outcome.kind === 'unknown');
  const found = [...final].map(([key, value], i): Operation => {
    const base = { id: -i, client: 0, key, invoked: 0, returned: 1 };
    if (value === null) return { ...base, call: { kind: 'get' }, outcome: { kind: 'absent' } };
    const call = { kind: 'put', value: value.value, condition: null } as const;
    return { ...base, call, outcome: { kind: 'written', revision: value.revision } };
  });
  return [...found, ...open.filter(({ call }) => call.kind === 'delete' || !isFinal(call, final))];
}

/** An unanswered write whose value was found took place, and does not take place again. */
function isFinal(call: Operation['call'], final: ReadonlyMap<string, FinalValue | null>): boolean {
  return call.kind === 'put' && [...final.values()].some((found) => found?.value === call.value);
}

/** Of one read of many keys: how many were told, and how many were not. */
export interface ReadCounts {
  told: number;
  untold: number;
}

const READS_AT_ONCE = 8;

/**
 * Reads the keys of an earlier generation again, through one client. Keys that it does not tell are counted, as a node with a
 * damaged disk may refuse some. Throws when one was lost.
 */
export async function readAgain(
  { prefix, operations }: RestOfGeneration,
  client: ClusterClient,
  attempts: number,
  isOver: () => boolean,
): Promise<ReadCounts> {
  const final = new Map<string, FinalValue | null>();
  const keys = [...byKey(operations).keys()];
  let next = 0;
  let asked = 0;
  const read = async (): Promise<void> => {
    for (let key = keys[next++]; key !== undefined && !isOver(); key = keys[next++]) {
      asked++;
      for (let attempt = 1; attempt <= attempts; attempt++) {
        const outcome = await client.get(prefix + key);
        if (outcome.kind === 'found') final.set(key, { value: outcome.value, revision: outcome.revision });
        if (outcome.kind === 'absent') final.set(key, null);
        if (final.has(key)) break;
        if (attempt < attempts) await sleep(100);
      }
    }
  };
  await Promise.all(Array.from({ length: READS_AT_ONCE }, read));
  const [lost] = checkDurability(
    operations.filter(({ key }) => final.has(key)),
    final,
  );
  if (lost !== undefined) throw new ChaosViolation(`promise 1: ${prefix}${lost.message}`);
  return { told: final.size, untold: asked - final.size };
}

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../../src/base/prng.js';
import type { BatchOperation } from '../../../src/server/service.js';
import { PARTITIONS, TIMEOUT_MS, RoutingWorld, putOperation, type Fate, type Outcome } from './routing-world.js';

const SEEDS = Number(process.env['CAIRN_TEST_SEEDS'] ?? 40);
const CALLS = 150;
const FETCH_MS = 30;
const NAMES = ['n1', 'n2', 'n3'];

/** Said of a write that was executed nowhere. */
const NOT_EXECUTED = new Set(['unavailable', 'overloaded']);

interface Call {
  readonly value: string;
  readonly node: string;
  readonly isBatch: boolean;
  /** Null until answered. */
  outcome: Outcome | null;
  answers: number;
}

/** Random writes on all nodes while leaders change, news of them come late, and links lose, delay and garble. */
class RandomRun {
  readonly #prng: Prng;
  readonly world: RoutingWorld;
  readonly calls: Call[] = [];
  faulty = true;

  constructor(seed: number) {
    this.#prng = new Prng(seed);
    this.world = new RoutingWorld(seed, NAMES, { routed: { maxCalls: 60 } });
    this.world.fate = () => this.#fate();
    for (const { local } of this.world.nodes.values()) {
      local.fetchMs = FETCH_MS;
      local.delayMs = () => (this.faulty && this.#prng.chance(0.02) ? 3 * TIMEOUT_MS : this.#prng.between(0, 20));
    }
  }

  async run(): Promise<void> {
    const { scheduler } = this.world;
    this.#changeLeaders();
    for (let i = 0; i < CALLS; i++) scheduler.schedule(this.#prng.below(4 * TIMEOUT_MS), () => this.#call());
    await scheduler.runFor(4 * TIMEOUT_MS);
    this.faulty = false;
    this.world.elect(this.#prng.pick(NAMES));
    for (let i = 0; i < 20; i++) this.#call();
    await scheduler.runFor(10 * TIMEOUT_MS);
  }

  #changeLeaders(): void {
    if (!this.faulty) return;
    const { world } = this;
    const partition = this.#prng.below(PARTITIONS);
    const leader = this.#prng.chance(0.3) ? null : this.#prng.pick(NAMES);
    world.leaders[partition] = leader;
    for (const node of world.nodes.values()) {
      world.scheduler.schedule(this.#prng.below(100), () => {
        if (this.faulty) node.known[partition] = leader;
      });
    }
    world.scheduler.schedule(this.#prng.below(40), () => this.#changeLeaders());
  }

  #fate(): Fate {
    const prng = this.#prng;
    const afterMs = prng.below(60);
    if (this.faulty && prng.chance(0.2)) return { kind: 'unreachable', afterMs };
    if (this.faulty && prng.chance(0.1)) return { kind: 'lost', delivered: prng.chance(0.5), afterMs };
    if (this.faulty && prng.chance(0.02)) return { kind: 'garbled', bytes: Uint8Array.of(prng.below(256), 0, 0, 0, 8) };
    const thereMs = this.faulty && prng.chance(0.03) ? 2 * TIMEOUT_MS : prng.below(20);
    return { kind: 'delivered', thereMs, backMs: prng.below(20) };
  }

  #begin(node: string, isBatch: boolean): Call {
    const call: Call = { value: `v${this.calls.length}`, node, isBatch, outcome: null, answers: 0 };
    this.calls.push(call);
    return call;
  }

  #call(): void {
    const prng = this.#prng;
    const node = this.world.node(prng.pick(NAMES));
    const key = (): string => `k${prng.below(40)}`;
    const answer = (call: Call, outcome: Outcome): void => {
      call.outcome = outcome;
      call.answers++;
    };
    if (prng.chance(0.2)) {
      // Every key once, as the protocols see to it.
      const keys = [...new Set(Array.from({ length: prng.between(1, 8) }, key))];
      const calls = keys.map(() => this.#begin(node.name, true));
      const operations = keys.map((name, i): BatchOperation => putOperation(name, calls[i]!.value));
      void node.batch(operations).then((outcomes) => outcomes.forEach((outcome, i) => answer(calls[i]!, outcome)));
      return;
    }
    const call = this.#begin(node.name, false);
    const options = prng.chance(0.5) ? { condition: { absent: true as const } } : {};
    void node.put(key(), call.value, options).then((outcome) => answer(call, outcome));
  }
}

test('Promise 3: whatever links and leaders do, a write takes place once or not at all, as its answer says', async () => {
  const seen = new Map<string, number>();
  for (let seed = 1; seed <= SEEDS; seed++) {
    const run = new RandomRun(seed);
    await run.run();
    const times = new Map<string, number>();
    for (const { value } of run.world.appended) times.set(value, (times.get(value) ?? 0) + 1);
    for (const [i, { value, node, isBatch, outcome, answers }] of run.calls.entries()) {
      const where = `seed ${seed}, ${value}: ${JSON.stringify(outcome)}`;
      assert.equal(answers, 1, `${where}: answered once`);
      const appended = times.get(value) ?? 0;
      assert.ok(appended <= 1, `${where}: appended ${appended} times`);
      const { code, tookMs } = outcome!;
      seen.set(code, (seen.get(code) ?? 0) + 1);
      if (code === 'ok') assert.equal(appended, 1, where);
      else if (NOT_EXECUTED.has(code)) assert.equal(appended, 0, where);
      else assert.equal(code, 'deadline_exceeded', where);
      // A write that the local service took at once is that one's to answer, with a deadline of its own.
      const isLocal = isBatch || run.world.appended.some((write) => write.value === value && write.node === node);
      assert.ok(isLocal || tookMs <= TIMEOUT_MS + FETCH_MS, where);
      if (i >= CALLS && run.calls.length - i <= 20) assert.equal(code, 'ok', `${where}: after the faults`);
    }
    for (const { routed, receiver } of run.world.nodes.values()) {
      assert.deepEqual(
        [routed.routing.heldCalls, routed.routing.heldBytes, receiver.requestsUnderWay],
        [0, 0, 0],
        `seed ${seed}`,
      );
    }
  }
  for (const code of ['ok', 'unavailable', 'deadline_exceeded'])
    assert.ok((seen.get(code) ?? 0) > SEEDS, `${code}: ${seen.get(code)}`);
});

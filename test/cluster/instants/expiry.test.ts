import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { CairnError } from '../../../src/base/errors.js';
import { plantMutations } from '../../../src/base/mutations.js';
import { CommitHolds } from '../../../src/cluster/host/commit-holds.js';
import { InstantHolds } from '../../../src/cluster/instants/instant-holds.js';
import { NO_FIELDS } from '../../../src/cluster/instants/instant-round.js';
import type { InstantAnswer, InstantRequest } from '../../../src/codec/instant-protocol.js';
import type { Clock } from '../../../src/ports/clock.js';
import { initialConfiguration } from '../../../src/raft/configuration.js';
import type { Group } from '../../../src/replica/group.js';
import { MemoryHost, newDisk } from '../../raft/memory-host.js';

afterEach(() => plantMutations([]));

const CLOCK = {
  monotonicMs: () => 0,
  setTimer: () => ({ cancel: () => undefined }),
} as unknown as Clock;

/** A leader's core and two followers', and the holds over them: what is held and what reads are told is real. */
class World {
  readonly hosts: readonly MemoryHost[];
  readonly group: Group;
  readonly holds: InstantHolds;
  readonly #commitHolds = new CommitHolds(CLOCK, { schedule: () => undefined } as never);
  readonly #reads = new Map<number, (clock: number) => void>();
  #token = 0;
  /** Everything in the log and every read lies at or below it. */
  readonly start: number;

  constructor() {
    const configuration = initialConfiguration(['n1', 'n2', 'n3']);
    const read = (_host: MemoryHost, { token, clock }: { token: number; clock: number }): void =>
      this.#reads.get(token)?.(clock);
    this.hosts = [1, 2, 3].map(
      (id) =>
        new MemoryHost(
          id,
          `n${id}`,
          newDisk(configuration),
          {},
          () => 0,
          () => this.#token,
          id === 1 ? { read } : {},
        ),
    );
    const [leader] = this.hosts as [MemoryHost];
    for (let i = 0; i < 20; i++) leader.raft.tick();
    this.settle();
    this.start = leader.raft.latestInstant;
    leader.clock = this.start + 500;
    this.group = { partition: 0, raft: leader.raft, isServing: true } as unknown as Group;
    this.holds = new InstantHolds(
      {
        groups: [this.group],
        now: () => leader.clock,
        latestTrusted: Infinity,
        readToken: 0,
        rely: (instant) => {
          leader.clock = Math.max(leader.clock, instant);
          return null;
        },
        notServing: () => new CairnError('not_leader', 'another node leads'),
        holdCommit: (group, revision) => this.#commitHolds.hold(group, revision),
        whenLifted: (group, instant) => this.#commitHolds.whenLifted(group, instant),
        whenReached: () => null,
        linearize: () => this.read(),
      },
      CLOCK,
    );
  }

  /** A linearizable read: at what instant its expiry is judged. */
  read(): Promise<number> {
    const token = ++this.#token;
    return new Promise((resolve) => {
      this.#reads.set(token, resolve);
      assert.ok(this.group.raft.readIndex(token));
    });
  }

  /** Messages and writes go their way until nothing is left. */
  settle(): void {
    for (let quiet = false; !quiet;) {
      quiet = true;
      for (const host of this.hosts) {
        const { messages } = host.collect();
        this.#token++;
        for (; host.writes.length > 0; quiet = false) host.persistNext();
        for (const message of messages) {
          quiet = false;
          this.hosts.find(({ id }) => id === message.to)!.raft.step(message);
        }
      }
    }
  }

  /** Lets rounds pass until nothing moves any more. */
  async run(): Promise<void> {
    for (let turn = 0; turn < 5; turn++) {
      this.settle();
      await new Promise(setImmediate);
    }
  }

  ask(fields: Partial<InstantRequest> & Pick<InstantRequest, 'step'>): Promise<InstantAnswer> {
    return this.holds.handle({ ...NO_FIELDS, holdMs: 50, partitions: [0], ...fields });
  }

  async judged(): Promise<number> {
    const reading = this.read();
    await this.run();
    return (await reading) - this.start;
  }
}

/** Prepares what shall be asked. */
type Prepare = (world: World) => Promise<() => Promise<InstantAnswer>>;

/** What reads are judged at, relative, that begin when this was answered: while another scan holds 150 since before, and afterwards. */
async function judgedAfter(world: World, prepare: Prepare): Promise<number[]> {
  const lower = await world.ask({ step: 'raise', revision: world.start + 150 });
  const ask = await prepare(world);
  let isAnswered = false;
  const answer = ask().then(() => (isAnswered = true));
  await world.run();
  const found: number[] = [];
  if (isAnswered) found.push(await world.judged());
  await world.ask({ step: 'release', hold: lower.hold });
  await world.run();
  await answer;
  found.push(await world.judged());
  return found;
}

const scanAt200: Prepare = async (world) => {
  const { hold, settled } = await world.ask({ step: 'raise', revision: world.start + 200 });
  assert.ok(settled);
  return () => world.ask({ step: 'confirm', hold });
};

const pastAt200: Prepare = (world) => Promise.resolve(() => world.ask({ step: 'reach', revision: world.start + 200 }));

for (const [what, prepare] of [
  ['a scan', scanAt200],
  ['a read of the past', pastAt200],
] as const) {
  test(`Raft rule 22: what has expired by the instant of ${what} stays so, also while another scan holds an earlier one`, async () => {
    const judged = await judgedAfter(new World(), prepare);
    assert.ok(
      judged.every((instant) => instant >= 200),
      `judged at ${judged.join(', ')}`,
    );
    plantMutations(['cluster-instant-expiry-back']);
    assert.ok((await judgedAfter(new World(), prepare))[0]! < 200, 'the planted bug is seen');
  });
}

test('Raft rule 22: no scan holds below an instant that another one is about to show', async () => {
  const world = new World();
  const lower = await world.ask({ step: 'raise', revision: world.start + 150 });
  const confirm = await scanAt200(world);
  const confirming = confirm();
  await world.run();
  const later = await world.ask({ step: 'raise', revision: world.start + 160 });
  assert.equal(later.revision - world.start, 200, 'so the one that waits need not wait for it');
  await world.ask({ step: 'release', hold: lower.hold });
  await world.run();
  await confirming;
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CairnError } from '../../../src/base/errors.js';
import { InstantRound, type Confirmed } from '../../../src/cluster/instants/instant-round.js';
import { type InstantAnswer, type InstantRequest, NO_INSTANT_ANSWER } from '../../../src/codec/instant-protocol.js';

const FROM = 1000;
const LEADERS = new Map([
  ['a', [0, 2]],
  ['b', [1]],
]);

interface Asked {
  readonly node: string;
  readonly request: InstantRequest;
  readonly answer: (answer: Partial<InstantAnswer> | CairnError) => void;
}

/** Leaders that answer when the test says so. */
class World {
  readonly asked: Asked[] = [];
  held = 0;
  readonly outcome: Promise<Confirmed | CairnError>;

  constructor() {
    const round = new InstantRound({
      leaders: LEADERS,
      from: FROM,
      holdMs: 50,
      timeoutMs: 500,
      ask: (node, request) =>
        new Promise((resolve, reject) => {
          const answer: Asked['answer'] = (given) =>
            given instanceof CairnError ? reject(given) : resolve({ ...NO_INSTANT_ANSWER, ...given });
          this.asked.push({ node, request, answer });
        }),
      onHeld: () => void this.held++,
    });
    this.outcome = round.run().catch((error: CairnError) => error);
  }

  /** The questions since the last call, in words. */
  async said(): Promise<string[]> {
    await new Promise(setImmediate);
    const { asked } = this;
    const lines = asked.slice(this.#shown).map(({ node, request: { step, revision, hold, partitions } }) => {
      if (step === 'raise') return `${node}: raise to ${revision} in ${partitions.join(',')}`;
      return `${node}: ${step} ${hold}${step === 'lift' ? ` to ${revision}` : ''}`;
    });
    this.#shown = asked.length;
    return lines;
  }

  #shown = 0;

  answer(node: string, answer: Partial<InstantAnswer> | CairnError): void {
    this.asked.findLast((asked) => asked.node === node)!.answer(answer);
  }
}

test('leaders that agree at once are raised, then confirm', async () => {
  const world = new World();
  assert.deepEqual(await world.said(), ['a: raise to 1000 in 0,2', 'b: raise to 1000 in 1']);
  world.answer('a', { hold: 7, revision: FROM, settled: true });
  assert.deepEqual(await world.said(), [], 'nobody confirms before all hold');
  world.answer('b', { hold: 9, revision: FROM, settled: true });
  assert.deepEqual(await world.said(), ['a: confirm 7', 'b: confirm 9']);
  assert.equal(world.held, 1);
  world.answer('a', { indexes: [11, 13] });
  world.answer('b', { indexes: [12] });
  assert.deepEqual(await world.outcome, {
    revision: FROM,
    indexes: new Map([
      [0, 11],
      [2, 13],
      [1, 12],
    ]),
  });
});

test('Raft rule 22: where a leader has given a later revision, all are lifted to it before any confirms', async () => {
  const world = new World();
  await world.said();
  world.answer('a', { hold: 7, revision: FROM, settled: true });
  world.answer('b', { hold: 9, revision: 1500, settled: false });
  assert.deepEqual(await world.said(), ['a: lift 7 to 1500', 'b: lift 9 to 1500']);
  world.answer('a', { settled: true });
  assert.deepEqual(await world.said(), []);
  assert.equal(world.held, 0, 'others may still join');
  world.answer('b', { settled: true });
  assert.deepEqual(await world.said(), ['a: confirm 7', 'b: confirm 9']);
  world.answer('a', { indexes: [11, 13] });
  world.answer('b', { indexes: [12] });
  assert.equal(((await world.outcome) as Confirmed).revision, 1500);
});

test('a leader that refuses ends the attempt, and the others let go, also those whose answer comes later', async () => {
  const world = new World();
  await world.said();
  const [raised] = world.asked;
  world.answer('b', new CairnError('not_leader', 'another node leads'));
  assert.equal(((await world.outcome) as CairnError).code, 'not_leader');
  assert.deepEqual(await world.said(), []);
  raised!.answer({ hold: 7, revision: FROM, settled: true });
  assert.deepEqual(await world.said(), ['a: release 7']);
});

test('a hold that has ended before it was confirmed ends the attempt', async () => {
  const world = new World();
  await world.said();
  world.answer('a', { hold: 7, revision: FROM, settled: true });
  world.answer('b', { hold: 9, revision: FROM, settled: true });
  await world.said();
  world.answer('a', new CairnError('unavailable', 'the hold has ended'));
  assert.equal(((await world.outcome) as CairnError).code, 'unavailable');
  assert.deepEqual(await world.said(), ['a: release 7', 'b: release 9']);
});

test('an answer for other partitions than were asked for is refused', async () => {
  const world = new World();
  await world.said();
  world.answer('a', { hold: 7, revision: FROM, settled: true });
  world.answer('b', { hold: 9, revision: FROM, settled: true });
  await world.said();
  world.answer('a', { indexes: [11] });
  assert.equal(((await world.outcome) as CairnError).code, 'protocol_error');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CairnError } from '../../../src/base/errors.js';
import { HOLD_ENDED, NO_FIELDS } from '../../../src/cluster/instants/instant-round.js';
import { encodeInstantRequest, NO_INSTANT_ANSWER, type InstantAnswer } from '../../../src/codec/instant-protocol.js';
import { answerInstant, instantAsker } from '../../../src/server/routing/instant-requests.js';

const REQUEST = { ...NO_FIELDS, step: 'raise', revision: 7, partitions: [1] } as const;

function asked(answer: () => Promise<Uint8Array>): Promise<InstantAnswer> {
  return instantAsker({ request: answer })('n2', REQUEST, 100);
}

test('what a leader says, and what it refuses, comes back', async () => {
  const said = { ...NO_INSTANT_ANSWER, hold: 5, revision: 9, settled: true, indexes: [3] };
  const bytes = encodeInstantRequest(REQUEST);
  const handle = (): Promise<InstantAnswer> => Promise.resolve(said);
  assert.deepEqual(await asked(() => answerInstant({ handle }, bytes)), said);
  for (const code of [HOLD_ENDED, 'not_leader', 'overloaded'] as const) {
    const refuse = (): Promise<InstantAnswer> => Promise.reject(new CairnError(code, 'why'));
    await assert.rejects(
      asked(() => answerInstant({ handle: refuse }, bytes)),
      { code, message: 'why' },
    );
  }
});

test('a leader that does not answer has not said that its hold has ended', async () => {
  const lost = new CairnError('deadline_exceeded', 'no answer', { extra: { outcome: 'unknown' } });
  await assert.rejects(
    asked(() => Promise.reject(lost)),
    { code: 'unavailable', message: 'no answer' },
  );
});

import fc from 'fast-check';
import { MAX_PEER_REVISION } from '../../../src/codec/peer-protocol.js';
import { Configuration, type Member } from '../../../src/raft/configuration.js';
import type { Entry } from '../../../src/raft/entry.js';
import type { AppendMessage, HeartbeatMessage, Message } from '../../../src/raft/message.js';

/** Objects as literals make them, which `deepEqual` compares with. */
function record<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(model, { noNullPrototype: true });
}

const uint53 = fc.oneof(
  fc.integer({ min: 0, max: 300 }),
  fc.integer({ min: 0, max: 2 ** 31 }),
  fc.maxSafeInteger().map(Math.abs),
);
const revisions = uint53.map((value) => Math.min(value, MAX_PEER_REVISION));
const indexes = fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 2 ** 45 }));
const kinds = fc.constantFrom<Entry['kind']>('normal', 'noop', 'config');
const datas = fc.oneof(
  fc.uint8Array({ maxLength: 10 }),
  fc.uint8Array({ minLength: 60, maxLength: 200 }),
  fc.nat(70_000).map((length) => new Uint8Array(length).fill(length)),
);
const entries = fc.array(record({ term: uint53, kind: kinds, revision: revisions, data: datas }), { maxLength: 5 });
const envelope = { group: uint53, from: uint53, to: uint53, term: uint53 };

const members = fc
  .uniqueArray(
    record({
      id: uint53,
      nodeId: fc.string(),
      incoming: fc.constantFrom<Member['incoming']>('none', 'learner', 'voter'),
      outgoing: fc.boolean(),
    }),
    {
      selector: ({ id }) => id,
      maxLength: 7,
    },
  )
  .map(
    (list) =>
      new Configuration(
        list,
        list.some(({ outgoing }) => outgoing),
      ),
  );
const snapshots = record({
  index: uint53,
  term: uint53,
  revision: revisions,
  configuration: members,
  configIndex: uint53,
  floor: revisions,
});

const appends: fc.Arbitrary<AppendMessage> = record({
  type: fc.constant('append' as const),
  ...envelope,
  prevIndex: indexes,
  prevTerm: uint53,
  commit: uint53,
  entries,
}).map((message) => ({
  ...message,
  entries: message.entries.map((entry, i) => ({ ...entry, index: message.prevIndex + 1 + i })),
}));

/** Any message at all. */
export const anyMessage: fc.Arbitrary<Message> = fc.oneof(
  appends,
  record({ type: fc.constant('append_reply' as const), ...envelope, index: uint53, clock: revisions }),
  record({
    type: fc.constant('append_reject' as const),
    ...envelope,
    rejectedIndex: uint53,
    hintIndex: uint53,
    hintTerm: uint53,
    lost: fc.boolean(),
    clock: revisions,
  }),
  record({ type: fc.constant('commit' as const), ...envelope, commit: uint53 }),
  record({
    type: fc.constant('heartbeat' as const),
    ...envelope,
    commit: uint53,
    token: fc.oneof(fc.nat(2), uint53),
    clock: revisions,
    confirmedClock: revisions,
  }),
  record({
    type: fc.constant('heartbeat_reply' as const),
    ...envelope,
    token: fc.oneof(fc.nat(2), uint53),
    index: uint53,
    clock: revisions,
  }),
  record({
    type: fc.constant('vote' as const),
    ...envelope,
    pre: fc.boolean(),
    transfer: fc.boolean(),
    lastIndex: uint53,
    lastTerm: uint53,
  }),
  record({
    type: fc.constant('vote_reply' as const),
    ...envelope,
    pre: fc.boolean(),
    granted: fc.boolean(),
    clock: revisions,
  }),
  record({ type: fc.constant('timeout_now' as const), ...envelope }),
  record({ type: fc.constant('read' as const), ...envelope, token: uint53 }),
  record({
    type: fc.constant('read_reply' as const),
    ...envelope,
    token: uint53,
    refused: fc.boolean(),
    index: uint53,
    clock: revisions,
  }),
  record({ type: fc.constant('repair' as const), ...envelope, token: uint53 }),
  record({ type: fc.constant('repair_reply' as const), ...envelope, token: uint53, lastIndex: uint53 }),
  record({ type: fc.constant('snapshot' as const), ...envelope, snapshot: snapshots }),
  record({ type: fc.constant('term_notice' as const), ...envelope }),
);

/** An append with one entry, whose index tells it from others. */
export function append(index: number, bytes = 20): AppendMessage {
  const data = new Uint8Array(bytes).fill(index);
  const entry: Entry = { term: 1, index, kind: 'normal', revision: index, data };
  return {
    type: 'append',
    group: 1,
    from: 1,
    to: 2,
    term: 1,
    prevIndex: index - 1,
    prevTerm: 1,
    commit: 0,
    entries: [entry],
  };
}

export function heartbeat(group: number, token = 0): HeartbeatMessage {
  return {
    type: 'heartbeat',
    group,
    from: 1,
    to: 2,
    term: 1,
    commit: 0,
    token,
    clock: 5000 + group,
    confirmedClock: 4000 - group,
  };
}

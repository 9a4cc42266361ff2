/** What a write demands of the state that it replaces: If-Match with a revision, If-None-Match: *, If-Match: *. */
export type Condition =
  | { readonly kind: 'revision'; readonly revision: number }
  | { readonly kind: 'absent' }
  | { readonly kind: 'present' };

export type Call =
  | {
      readonly kind: 'put';
      readonly value: string;
      readonly condition: Condition | null;
      /** It has a ttl: what it wrote may be gone at any time after. */
      readonly expires?: boolean;
    }
  | { readonly kind: 'delete'; readonly condition: Condition | null }
  | { readonly kind: 'get' };

/** What the client was told. */
export type Outcome =
  /** Of a put. */
  | { readonly kind: 'written'; readonly revision: number }
  /** Of a delete that found a value; the revision is the tombstone's. */
  | { readonly kind: 'deleted'; readonly revision: number }
  /** Of a delete that found nothing: `deleted: false`. */
  | { readonly kind: 'nothing' }
  /** Of a condition that did not hold: the revision that the key has, 0 when it is absent. */
  | { readonly kind: 'conflict'; readonly revision: number }
  | { readonly kind: 'found'; readonly value: string; readonly revision: number }
  | { readonly kind: 'absent' }
  /** It certainly did not take place, and tells nothing of the state. */
  | { readonly kind: 'failed' }
  /** It takes place once, at any time after it was invoked, or never. */
  | { readonly kind: 'unknown' };

/**
 * One operation on one key. Every put of a history has a value of its own. `invoked` and `returned` are points of one
 * clock that all clients share; an unknown operation returns at Infinity.
 */
export interface Operation {
  readonly id: number;
  readonly client: number;
  readonly key: string;
  readonly call: Call;
  readonly outcome: Outcome;
  readonly invoked: number;
  readonly returned: number;
}

const SHOWN_CHARACTERS = 24;

export function describeOperation({ id, client, call, outcome, invoked, returned }: Operation): string {
  const end = returned === Infinity ? 'open' : String(returned);
  return `#${id} client ${client} ${describeCall(call)} -> ${describeOutcome(outcome)} [${invoked}, ${end}]`;
}

/** Of a value that a workload made long only its distinct begin. */
function shorten(value: string): string {
  return value.length <= SHOWN_CHARACTERS ? value : `${value.slice(0, SHOWN_CHARACTERS)}... (${value.length})`;
}

function describeCall(call: Call): string {
  if (call.kind === 'get') return 'get';
  const ttl = call.kind === 'put' && call.expires === true ? ' with a ttl' : '';
  const what = call.kind === 'put' ? `put ${shorten(call.value)}${ttl}` : 'delete';
  if (call.condition === null) return what;
  return call.condition.kind === 'revision'
    ? `${what} if @${call.condition.revision}`
    : `${what} if ${call.condition.kind}`;
}

function describeOutcome(outcome: Outcome): string {
  switch (outcome.kind) {
    case 'written':
      return `@${outcome.revision}`;
    case 'deleted':
      return `deleted @${outcome.revision}`;
    case 'conflict':
      return outcome.revision === 0 ? 'conflict, absent' : `conflict, @${outcome.revision}`;
    case 'found':
      return `${shorten(outcome.value)} @${outcome.revision}`;
    default:
      return outcome.kind;
  }
}

import assert from 'node:assert/strict';

/** The life of one key's value, as its writer knows it. */
export interface Write {
  readonly key: string;
  /** Unique; null for a delete. */
  readonly value: string | null;
  /** 0 for never. */
  readonly ttlUnits: number;
  /** Of a conditional write: the revision that it replaces, 0 for none. */
  readonly replaces: number | null;
  readonly invoked: number;
  returned: number;
  /** 0 while unknown. */
  revision: number;
  outcome: 'ok' | 'refused' | 'unknown';
}

/** A look at one key's latest state, also by a failed condition or a delete that found nothing. Revision 0: absent. */
interface Look {
  readonly key: string;
  readonly value: string | null;
  readonly revision: number;
  readonly invoked: number;
  readonly returned: number;
}

export interface Item {
  readonly value: string;
  readonly revision: number;
}

/** A read of several keys at one instant; `isLatest` when the node chose the instant. */
interface Snapshot {
  readonly at: number;
  readonly isLatest: boolean;
  readonly keys: readonly string[];
  readonly items: ReadonlyMap<string, Item>;
  readonly invoked: number;
  readonly returned: number;
}

/**
 * What clients asked for and were told, over all lives of a node. Revisions give each key's writes their order, so the check
 * needs no search: strict serializability of snapshots and linearizability per key follow from comparing pairs.
 */
export class NodeHistory {
  readonly writes: Write[] = [];
  readonly #looks: Look[] = [];
  readonly #snapshots: Snapshot[] = [];
  #time = 0;

  get lookCount(): number {
    return this.#looks.length;
  }
  get snapshotCount(): number {
    return this.#snapshots.length;
  }

  now(): number {
    return ++this.#time;
  }

  beginWrite(key: string, value: string | null, ttlUnits: number, replaces: number | null): Write {
    const invoked = this.now();
    const write: Write = {
      key,
      value,
      ttlUnits,
      replaces,
      invoked,
      returned: Infinity,
      revision: 0,
      outcome: 'unknown',
    };
    this.writes.push(write);
    return write;
  }

  look(key: string, invoked: number, revision: number, value: string | null): void {
    this.#looks.push({ key, value, revision, invoked, returned: this.now() });
  }

  snapshot(
    invoked: number,
    at: number,
    isLatest: boolean,
    keys: readonly string[],
    items: ReadonlyMap<string, Item>,
  ): void {
    this.#snapshots.push({ at, isLatest, keys, items, invoked, returned: this.now() });
  }

  /** A revision that some client knows, to be read at. */
  revisions(): number[] {
    return [...this.writes.map(({ revision }) => revision), ...this.#snapshots.map(({ at }) => at)].filter(
      (r) => r > 0,
    );
  }

  check(): void {
    this.#learn();
    const revisions = new Set<number>();
    for (const { revision } of this.writes) {
      if (revision === 0) continue;
      assert.ok(!revisions.has(revision), `Raft rule 20: revision ${revision} was given twice`);
      revisions.add(revision);
    }
    const looks = [...this.#looks, ...this.#snapshots.filter(({ isLatest }) => isLatest).flatMap(looksOf)];
    for (const key of new Set(this.writes.map((write) => write.key))) {
      this.#checkKey(
        key,
        this.writes.filter((write) => write.key === key && write.outcome !== 'refused'),
        looks.filter((look) => look.key === key),
      );
    }
    for (const snapshot of this.#snapshots) this.#checkSnapshot(snapshot);
    this.#checkInstants();
  }

  /** A write without an answer took place if somebody saw its value. */
  #learn(): void {
    const byValue = new Map(this.writes.filter(({ value }) => value !== null).map((write) => [write.value, write]));
    const seen = [...this.#looks, ...this.#snapshots.flatMap(looksOf)];
    for (const { key, value, revision } of seen) {
      if (value === null) continue;
      const write = byValue.get(value);
      assert.ok(write !== undefined && write.key === key, `${key} holds ${value}, which nobody wrote there`);
      assert.notEqual(write.outcome, 'refused', `${value} was refused, and is there`);
      if (write.revision === 0) write.revision = revision;
      assert.equal(revision, write.revision, `${value} has the revision of its write`);
    }
  }

  #checkKey(key: string, writes: readonly Write[], looks: readonly Look[]): void {
    const known = writes.filter(({ revision }) => revision > 0).sort((a, b) => a.revision - b.revision);
    for (const a of known) {
      for (const b of known) {
        if (a.returned < b.invoked)
          assert.ok(a.revision < b.revision, `Raft rule 20: ${key} went back to ${b.revision}`);
      }
    }
    for (const write of known) if (write.replaces !== null) checkReplaced(write, writes, known);
    for (const look of looks) {
      for (const write of known) {
        if (write.returned < look.invoked) checkNotOlder(look, write.revision, 'a write that was answered');
        if (look.returned < write.invoked) assert.ok(look.revision < write.revision, `${key} showed a write to come`);
      }
      for (const earlier of looks) {
        if (earlier.returned >= look.invoked) continue;
        if (earlier.revision > 0) checkNotOlder(look, earlier.revision, 'an earlier look');
        else if (look.revision > 0) {
          const write = known.find(({ revision }) => revision === look.revision)!;
          const isOld = write.returned < earlier.invoked;
          assert.ok(!isOld, `LSM rule 17: ${key} was absent, and ${look.revision} came back`);
        }
      }
      if (look.revision === 0) checkMayBeAbsent(look, writes);
    }
  }

  #checkSnapshot({ at, keys, items, invoked, returned, isLatest }: Snapshot): void {
    for (const key of keys) {
      const writes = this.writes.filter((write) => write.key === key && write.outcome !== 'refused');
      const known = writes.filter(({ revision }) => revision > 0 && revision <= at);
      const newest = known.reduce<Write | null>((a, b) => (a !== null && a.revision > b.revision ? a : b), null);
      const found = items.get(key);
      const isAbsent = newest === null || newest.value === null || isExpired(newest, at);
      const maybeDeleted = writes.some(leavesNoTrace);
      if (found === undefined) {
        assert.ok(isAbsent || maybeDeleted, `${key} is missing in the snapshot at ${at}, expected ${newest?.value}`);
      } else {
        assert.ok(!isAbsent, `${key} in the snapshot at ${at} is ${found.value}, expected nothing`);
        assert.equal(found.value, newest.value, `${key} in the snapshot at ${at}`);
      }
    }
    if (!isLatest) return;
    for (const { key, revision, returned: answered, invoked: asked } of this.writes) {
      if (revision === 0) continue;
      if (answered < invoked)
        assert.ok(revision <= at, `a snapshot at ${at} misses ${key} at ${revision}, answered before`);
      if (asked > returned) assert.ok(revision > at, `${key} was written at ${revision} after a snapshot at ${at}`);
    }
  }

  #checkInstants(): void {
    const latest = this.#snapshots.filter(({ isLatest }) => isLatest);
    for (const a of latest) {
      for (const b of latest)
        if (a.returned < b.invoked) assert.ok(a.at <= b.at, `a snapshot at ${b.at} after one at ${a.at}`);
    }
  }
}

function looksOf({ keys, items, invoked, returned }: Snapshot): Look[] {
  return keys.map((key) => {
    const item = items.get(key);
    return { key, value: item?.value ?? null, revision: item?.revision ?? 0, invoked, returned };
  });
}

function isExpired(write: Write, at: number): boolean {
  return write.ttlUnits > 0 && write.revision + write.ttlUnits <= at;
}

/** A delete without an answer, or a value that expired before anybody saw it: the key may be absent because of it. */
function leavesNoTrace({ revision, value, ttlUnits, outcome }: Write): boolean {
  return outcome === 'unknown' && revision === 0 && (value === null || ttlUnits > 0);
}

function checkNotOlder(look: Look, revision: number, than: string): void {
  if (look.revision === 0) return;
  assert.ok(look.revision >= revision, `${look.key}: ${look.revision} was read after ${revision} of ${than}`);
}

/** What the key may hold at the end of the look is deleted or may have expired. */
function checkMayBeAbsent(look: Look, writes: readonly Write[]): void {
  const answered = writes.filter((write) => write.outcome === 'ok' && write.returned < look.invoked);
  const newest = answered.reduce((a, b) => Math.max(a, b.revision), 0);
  const reason = writes.some(
    (write) =>
      write.invoked < look.returned &&
      (write.revision === 0 || write.revision >= newest) &&
      (write.value === null || write.ttlUnits > 0),
  );
  assert.ok(newest === 0 || reason, `${look.key} was absent, although ${newest} was written`);
}

/** Raft rule 21: what a condition named was the state that its write replaced. */
function checkReplaced(write: Write, all: readonly Write[], known: readonly Write[]): void {
  const before = known.filter(({ revision }) => revision < write.revision).at(-1);
  const isAbsent = before === undefined || before.value === null || isExpired(before, write.revision);
  if (write.replaces === 0) {
    const maybeDeleted = all.some(leavesNoTrace);
    assert.ok(isAbsent || maybeDeleted, `${write.value} was to be the first, but replaced ${before?.value}`);
  } else assert.equal(isAbsent ? 0 : before.revision, write.replaces, `Raft rule 21: what ${write.value} replaced`);
}

import assert from 'node:assert/strict';
import { compareBytes } from '../../src/base/bytes.js';
import { xxHash32 } from '../../src/base/hash.js';
import type { Prng } from '../../src/base/prng.js';
import type { EngineOptions } from '../../src/engine/engine-options.js';
import { ABSENT, FOUND, type Engine } from '../../src/engine/engine.js';
import type { Cursor } from '../../src/lsm/cursor.js';
import { isAbsentAt, TOMBSTONE_RECORD, writeRecordHeader } from '../../src/lsm/record.js';
import type { Revision } from '../../src/lsm/row-key.js';
import { emptyGroupState, type GroupState } from '../../src/lsm/version/version-edit.js';
import type { SimDisk } from '../sim/ports/sim-disk.js';
import { openHarness, type Harness } from './engine-harness.js';
import { InlineBlockReader } from './inline-block-reader.js';

interface LoggedWrite {
  readonly key: Uint8Array;
  readonly record: Uint8Array;
}

interface LoggedEntry {
  readonly revision: Revision;
  readonly writes: readonly LoggedWrite[];
}

interface ModelGroup {
  readonly groupId: number;
  replicaId: number;
  /** All entries ever applied; the index of the first one is 1. */
  readonly log: LoggedEntry[];
  /** Entries below were released: the tables must hold them. */
  released: number;
  applied: number;
}

interface Visible {
  readonly key: Uint8Array;
  readonly record: Uint8Array;
  readonly revision: Revision;
}

/** An engine beside the slow, obvious truth: the entries of each group in a list, and a log that replays them. */
export class ModelWorld {
  readonly groups: ModelGroup[] = [];
  now: Revision = 1000;
  readonly #prng: Prng;
  readonly #options: Partial<EngineOptions>;
  readonly #withBlockReader: boolean;
  #harness: Harness | undefined;

  constructor(prng: Prng, options: Partial<EngineOptions> = {}) {
    this.#prng = prng;
    this.#options = options;
    this.#withBlockReader = prng.chance(0.5);
  }

  get harness(): Harness {
    assert.ok(this.#harness !== undefined);
    return this.#harness;
  }

  get engine(): Engine {
    return this.harness.engine;
  }

  /** Opens the engine and applies again what it has lost. */
  async open(disk: SimDisk, groupCount: number): Promise<void> {
    const onFlushed = (states: readonly GroupState[]): void => {
      for (const state of states) {
        const group = this.groups.find(({ groupId }) => groupId === state.groupId);
        if (group !== undefined) group.released = Math.max(group.released, state.appliedIndex);
      }
    };
    const reader = this.#withBlockReader ? { blockReaderThread: new InlineBlockReader(disk.blocking) } : {};
    this.#harness = await openHarness(disk, { onFlushed, ...reader, ...this.#options });
    this.#capture();
    this.#tick();
    const { groups } = this.engine.recovered;
    const missing = Array.from({ length: groupCount }, (_, i) => i + 1).filter((groupId) => !groups.has(groupId));
    if (missing.length > 0) await this.engine.createReplicas(missing);
    for (const { groupId, replicaId, appliedIndex } of this.#states(groupCount)) {
      let group = this.groups.find((known) => known.groupId === groupId);
      if (group === undefined) this.groups.push((group = { groupId, replicaId, log: [], released: 0, applied: 0 }));
      assert.ok(
        appliedIndex >= group.released,
        `group ${groupId}: released up to ${group.released}, found ${appliedIndex}`,
      );
      assert.ok(
        appliedIndex <= group.log.length,
        `group ${groupId} knows entry ${appliedIndex}, which was never written`,
      );
      group.replicaId = replicaId;
      group.applied = appliedIndex;
      while (group.applied < group.log.length) this.#apply(group, group.log[group.applied]!);
    }
  }

  #states(groupCount: number): GroupState[] {
    const states = [...this.engine.groupStates().values()];
    assert.equal(states.length, groupCount);
    return states;
  }

  /** One entry of a few writes to distinct keys. */
  write(): void {
    const group = this.#prng.pick(this.groups);
    this.now += 1 + this.#prng.below(5);
    const writes = new Map<string, LoggedWrite>();
    for (let count = 1 + this.#prng.below(4); count > 0; count--) {
      const key = this.#key();
      writes.set(key.join(), { key, record: this.#record() });
    }
    const entry = { revision: this.now, writes: [...writes.values()] };
    group.log.push(entry);
    this.#apply(group, entry);
    this.#tick();
  }

  async flush(): Promise<void> {
    await this.engine.flush();
  }

  /** Reads random keys at random revisions and scans all replicas in both directions. */
  async check(): Promise<void> {
    for (let i = 0; i < 10; i++) await this.#checkKey(this.#prng.pick(this.groups), this.#key(), this.#revision());
    await this.#checkScan(this.#revision());
  }

  async checkEverything(): Promise<void> {
    const at = this.now;
    for (const group of this.groups) {
      for (const { key } of group.log.flatMap((entry) => entry.writes)) await this.#checkKey(group, key, at);
    }
    await this.#checkScan(at);
  }

  assertNoErrors(): void {
    assert.deepEqual(this.harness.errors, []);
  }

  #apply(group: ModelGroup, entry: LoggedEntry): void {
    let bytes = 0;
    for (const { key, record } of entry.writes) bytes += key.length + record.length;
    this.engine.prepare(bytes, entry.writes.length);
    for (const { key, record } of entry.writes) {
      const hash = xxHash32(key, 0, key.length);
      this.engine.insert(group.replicaId, key, 0, key.length, hash, entry.revision, record, 0, record.length);
    }
    group.applied++;
    this.#capture();
  }

  #capture(): void {
    const groups = this.groups.map(({ groupId, replicaId, applied, log }): GroupState => ({
      ...emptyGroupState(groupId, replicaId),
      appliedIndex: applied,
      appliedTerm: 1,
      revision: log[applied - 1]?.revision ?? 0,
      term: 1,
      vote: 0,
    }));
    this.harness.captured = { groups, clockBound: this.now + 1000 };
  }

  #tick(): void {
    this.harness.now = this.now;
  }

  /** At or above the floor, as every reader must be. */
  #revision(): Revision {
    const floor = this.engine.historyFloor;
    return this.#prng.chance(0.3) ? this.now : floor + this.#prng.below(Math.max(1, this.now - floor + 1));
  }

  /** Few keys, so that they have many versions; some with bytes at the ends of the range, and prefixes of each other. */
  #key(): Uint8Array {
    const length = 1 + this.#prng.below(4);
    return Uint8Array.from({ length }, () => this.#prng.pick([0, 0x61, 0x62, 0x63, 0xff]));
  }

  #record(): Uint8Array {
    if (this.#prng.chance(0.25)) return TOMBSTONE_RECORD;
    const expiresAt = this.#prng.chance(0.3) ? this.now + this.#prng.below(40) : 0;
    const record = new Uint8Array(10 + this.#prng.below(this.#prng.chance(0.1) ? 3000 : 60));
    writeRecordHeader(record, 0, expiresAt, '');
    record[record.length - 1] = this.#prng.below(256);
    return record;
  }

  #truth(group: ModelGroup, key: Uint8Array, at: Revision): Visible | null {
    for (let i = group.log.length - 1; i >= 0; i--) {
      const { revision, writes } = group.log[i]!;
      const write = revision > at ? undefined : writes.find((candidate) => compareBytes(candidate.key, key) === 0);
      if (write === undefined) continue;
      return isAbsentAt(write.record, 0, at) ? null : { key, record: write.record, revision };
    }
    return null;
  }

  async #checkKey(group: ModelGroup, key: Uint8Array, at: Revision): Promise<void> {
    const expected = this.#truth(group, key, at);
    const what = `group ${group.groupId} key ${key.join()} at ${at}`;
    const { engine } = this;
    const hash = xxHash32(key, 0, key.length);
    const code = engine.lookup(group.replicaId, key, 0, key.length, hash, at);
    if (code === FOUND) {
      const { bytes, start, length, revision } = engine.hit;
      const found = isAbsentAt(bytes, start, at) ? null : { key, record: bytes.slice(start, start + length), revision };
      assert.deepEqual(found, expected, `lookup of ${what}`);
    } else if (code === ABSENT) assert.equal(expected, null, `lookup of ${what}`);
    const read = await engine.read(group.replicaId, key, hash, at);
    const found = read === null || isAbsentAt(read.record, 0, at) ? null : { key, ...read };
    assert.deepEqual(found, expected, `read of ${what}`);
  }

  async #checkScan(at: Revision): Promise<void> {
    const some = this.#prng.pick(this.groups);
    const startKey = this.#prng.chance(0.5) ? new Uint8Array(0) : this.#key();
    const endKey = this.#prng.chance(0.5) ? null : this.#key();
    const keys = new Map(some.log.flatMap((entry) => entry.writes).map(({ key }) => [key.join(), key]));
    const expected = [...keys.values()]
      .filter((key) => compareBytes(key, startKey) >= 0 && (endKey === null || compareBytes(key, endKey) < 0))
      .map((key) => this.#truth(some, key, at))
      .filter((visible) => visible !== null)
      .sort((a, b) => compareBytes(a.key, b.key));
    const scan = this.engine.scan({ replicaIds: [some.replicaId], startKey, endKey, at });
    try {
      const forward = await collect(scan, 'forward');
      assert.deepEqual(forward, expected, `scan of group ${some.groupId} at ${at}`);
      const backward = await collect(scan, 'backward');
      assert.deepEqual(backward, [...expected].reverse(), `scan backward of group ${some.groupId} at ${at}`);
    } finally {
      scan.close();
    }
  }
}

async function collect(cursor: Cursor, direction: 'forward' | 'backward'): Promise<Visible[]> {
  const forward = direction === 'forward';
  const items: Visible[] = [];
  while (!(forward ? cursor.seekToFirst() : cursor.seekToLast())) await cursor.load();
  while (cursor.valid) {
    const { key, keyStart, keyLength, value, valueStart, valueLength, revision } = cursor;
    items.push({
      key: key.slice(keyStart, keyStart + keyLength),
      record: value.slice(valueStart, valueStart + valueLength),
      revision,
    });
    while (!(forward ? cursor.next() : cursor.previous())) await cursor.load();
  }
  return items;
}

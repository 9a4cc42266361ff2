import assert from 'node:assert/strict';
import { compareBytes } from '../../../src/base/bytes.js';
import type { Prng } from '../../../src/base/prng.js';
import type { Engine } from '../../../src/engine/engine.js';
import type { ReplicaImporter } from '../../../src/engine/snapshot/replica-importer.js';
import type { ReplicaSnapshot } from '../../../src/engine/snapshot/replica-snapshot.js';
import { FLAG_EXPIRY, isAbsentAt, TOMBSTONE_RECORD, writeRecordHeader } from '../../../src/lsm/record.js';
import type { Revision } from '../../../src/lsm/row-key.js';
import { emptyGroupState, type GroupState } from '../../../src/lsm/version/version-edit.js';
import { readAt, write } from '../engine-harness.js';

/** One version that was written, in any engine. */
export interface Version {
  readonly key: Uint8Array;
  readonly revision: Revision;
  readonly record: Uint8Array;
}

/** Keys that look like parts, ends or prefixes of others, and plain ones. */
export const KEYS: readonly Uint8Array[] = [
  ...[[0], [0, 0], [255], [255, 255, 255, 255], [0, 255], [97], [97, 0], [97, 98]].map((bytes) =>
    Uint8Array.from(bytes),
  ),
  ...Array.from({ length: 20 }, (_, i) => Buffer.from(`key:${i}`)),
];

/** A value, a tombstone or a value that expires soon. */
export function randomRecord(prng: Prng, revision: Revision, longestBytes: number): Uint8Array {
  if (prng.chance(0.2)) return TOMBSTONE_RECORD;
  const payload = new Uint8Array(prng.below(longestBytes));
  prng.fill(payload);
  const record = new Uint8Array(9 + payload.length);
  const expiresAt = prng.chance(0.2) ? revision + prng.between(1, 40) : 0;
  const start = writeRecordHeader(record, 0, expiresAt, '');
  record.set(payload, start);
  return record.subarray(0, start + payload.length);
}

/** A replica of an engine with the list of all that was written to it. */
export class WrittenReplica {
  readonly engine: Engine;
  readonly replicaId: number;
  readonly versions: Version[] = [];

  constructor(engine: Engine, replicaId: number, versions: readonly Version[] = []) {
    this.engine = engine;
    this.replicaId = replicaId;
    this.versions.push(...versions);
  }

  write(prng: Prng, revision: Revision, longestBytes = 60): void {
    const version = { key: prng.pick(KEYS), revision, record: randomRecord(prng, revision, longestBytes) };
    this.versions.push(version);
    write(this.engine, this.replicaId, version.key, revision, version.record);
  }

  /** Every key, and a scan, at the revisions from `floor` on at which something may change: at every one of `stride`, and at both ends. */
  async check(floor: Revision, until: Revision, stride = 1): Promise<void> {
    const moments = new Set([floor, until]);
    for (const { revision, record } of this.versions) {
      moments.add(revision);
      if (record[0] === FLAG_EXPIRY) for (const at of expiryMoments(record)) moments.add(at);
    }
    for (const [i, at] of [...moments].entries()) {
      if (at < floor || at > until || (i > 1 && i % stride !== 0)) continue;
      const expected = visible(this.versions, at);
      for (const key of KEYS) {
        const found = await readAt(this.engine, this.replicaId, key, at);
        const wanted = expected.find((version) => compareBytes(version.key, key) === 0);
        assert.deepEqual(found?.revision, wanted?.revision, `${Buffer.from(key).toString('hex')} at ${at}`);
        assert.deepEqual(bytesOf(found?.record), bytesOf(wanted?.record));
      }
      assert.deepEqual(await scanned(this.engine, this.replicaId, at), expected.map(keyAndRevision), `scan at ${at}`);
    }
  }
}

function expiryMoments(record: Uint8Array): number[] {
  const at = Number(Buffer.from(record).readBigUInt64LE(1));
  return [at - 1, at];
}

function bytesOf(record: Uint8Array | undefined): string | undefined {
  return record === undefined ? undefined : Buffer.from(record).toString('hex');
}

function keyAndRevision({ key, revision }: Version): string {
  return `${Buffer.from(key).toString('hex')}@${revision}`;
}

/** What a reader at `at` sees, in key order: the slow and obvious way. */
function visible(versions: readonly Version[], at: Revision): Version[] {
  const newest = new Map<string, Version>();
  for (const version of versions) {
    const name = Buffer.from(version.key).toString('hex');
    const known = newest.get(name);
    if (version.revision <= at && (known === undefined || known.revision <= version.revision)) {
      newest.set(name, version);
    }
  }
  return [...newest.values()]
    .filter(({ record }) => !isAbsentAt(record, 0, at))
    .sort((a, b) => compareBytes(a.key, b.key));
}

async function scanned(engine: Engine, replicaId: number, at: Revision): Promise<string[]> {
  const cursor = engine.scan({ replicaIds: [replicaId], startKey: new Uint8Array(0), endKey: null, at });
  const found: string[] = [];
  try {
    while (!cursor.seekToFirst()) await cursor.load();
    while (cursor.valid) {
      const { key, keyStart, keyLength, revision } = cursor;
      found.push(keyAndRevision({ key: key.slice(keyStart, keyStart + keyLength), revision, record: key }));
      while (!cursor.next()) await cursor.load();
    }
  } finally {
    cursor.close();
  }
  return found;
}

/** All chunks; `between` is called after each. */
export async function readChunks(
  snapshot: ReplicaSnapshot,
  between: () => Promise<void> | void = () => {},
): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = [];
  for (let chunk = await snapshot.next(); chunk !== null; chunk = await snapshot.next()) {
    chunks.push(chunk);
    await between();
  }
  snapshot.close();
  return chunks;
}

export async function addChunks(importer: ReplicaImporter, chunks: readonly Uint8Array[]): Promise<void> {
  for (const chunk of chunks) await importer.add(chunk);
}

export function stateOf(groupId: number, importer: ReplicaImporter, revision: Revision): GroupState {
  const state = emptyGroupState(groupId, importer.replicaId);
  return { ...state, appliedIndex: 100, appliedTerm: 3, revision, term: 4, vote: 2, memberId: 5, configIndex: 90 };
}

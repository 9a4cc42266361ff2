import { compareBytes } from '../../../src/base/bytes.js';
import type { Cursor } from '../../../src/lsm/cursor.js';
import { makeRowKey, type Revision } from '../../../src/lsm/row-key.js';

export interface Version {
  readonly rowKey: Uint8Array;
  readonly revision: Revision;
  readonly record: Uint8Array;
}

export function compareVersions(a: Version, b: Version): number {
  return compareBytes(a.rowKey, b.rowKey) || b.revision - a.revision;
}

/** The slow, obvious memtable: a sorted array of versions. */
export class Oracle {
  readonly versions: Version[] = [];

  insert(replicaId: number, key: Uint8Array, revision: Revision, record: Uint8Array): void {
    const version = { rowKey: makeRowKey(replicaId, key), revision, record: record.slice() };
    const at = this.versions.findIndex((other) => compareVersions(other, version) >= 0);
    const held = at < 0 ? undefined : this.versions[at];
    if (held !== undefined && compareVersions(held, version) === 0) return;
    this.versions.splice(at < 0 ? this.versions.length : at, 0, version);
  }

  find(replicaId: number, key: Uint8Array, at: Revision): Version | undefined {
    const rowKey = makeRowKey(replicaId, key);
    return this.versions.find((version) => compareBytes(version.rowKey, rowKey) === 0 && version.revision <= at);
  }

  /** The newest revision of a row, or -1. */
  newest(replicaId: number, key: Uint8Array): Revision {
    return this.find(replicaId, key, Number.MAX_SAFE_INTEGER)?.revision ?? -1;
  }

  /** Number of versions before (rowKey, revision) in the order. */
  rank(rowKey: Uint8Array, revision: Revision): number {
    const wanted = { rowKey, revision, record: rowKey };
    const at = this.versions.findIndex((version) => compareVersions(version, wanted) >= 0);
    return at < 0 ? this.versions.length : at;
  }

  get rowCount(): number {
    return this.versions.filter((v, i) => i === 0 || compareBytes(v.rowKey, this.versions[i - 1]!.rowKey) !== 0).length;
  }
}

export function currentVersion(cursor: Cursor): Version {
  return {
    rowKey: cursor.key.slice(cursor.keyStart, cursor.keyStart + cursor.keyLength),
    revision: cursor.revision,
    record: cursor.value.slice(cursor.valueStart, cursor.valueStart + cursor.valueLength),
  };
}

export function readForward(cursor: Cursor): Version[] {
  const found: Version[] = [];
  for (cursor.seekToFirst(); cursor.valid; cursor.next()) found.push(currentVersion(cursor));
  return found;
}

export function readBackward(cursor: Cursor): Version[] {
  const found: Version[] = [];
  for (cursor.seekToLast(); cursor.valid; cursor.previous()) found.push(currentVersion(cursor));
  return found;
}

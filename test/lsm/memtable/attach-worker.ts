import { parentPort, workerData } from 'node:worker_threads';
import { xxHash32 } from '../../../src/base/hash.js';
import { Memtable } from '../../../src/lsm/memtable/memtable.js';
import { readBackward, readForward, type Version } from './oracle.js';

/** What a worker reads from a frozen memtable; then it zeroes the buffer, as a flush would. */
export interface AttachedContents {
  readonly forward: readonly Version[];
  readonly backward: readonly Version[];
  readonly found: readonly boolean[];
  readonly counts: readonly number[];
}

const { buffer, keys } = workerData as { buffer: SharedArrayBuffer; keys: readonly Uint8Array[] };
const memtable = Memtable.attach(buffer);
const contents: AttachedContents = {
  forward: readForward(memtable.cursor()),
  backward: readBackward(memtable.cursor()),
  found: keys.map((key) => memtable.find(7, key, 0, key.length, xxHash32(key, 0, key.length), 2 ** 52) !== 0),
  counts: [memtable.rowCount, memtable.versionCount, memtable.minRevision, memtable.maxRevision, memtable.usedBytes],
};
Memtable.zero(buffer);
parentPort!.postMessage(contents);

import { xxHash32 } from '../base/hash.js';
import type { Engine } from '../engine/engine.js';
import type { Revision } from '../lsm/row-key.js';
import { OperationReader } from './command.js';
import { MANY_KEYS } from './group.js';

const operations = new OperationReader();

/**
 * Stores what a write entry lists. Blind and deterministic: no reads, no clock; the same entry gives the same bytes on every
 * replica. An entry is never split over two memtables, so a flush covers whole entries.
 */
export function applyWrite(
  engine: Engine,
  replicaId: number,
  revision: Revision,
  bytes: Uint8Array,
  start: number,
  length: number,
  keyHash: number,
): void {
  let count = 1;
  if (keyHash === MANY_KEYS) {
    count = 0;
    operations.open(bytes, start, length);
    while (operations.next()) count++;
  }
  engine.prepare(length, count);
  operations.open(bytes, start, length);
  while (operations.next()) {
    const { keyStart, keyLength } = operations;
    engine.insert(
      replicaId,
      bytes,
      keyStart,
      keyLength,
      keyHash === MANY_KEYS ? xxHash32(bytes, keyStart, keyLength) : keyHash,
      revision,
      bytes,
      operations.recordStart,
      operations.recordLength,
    );
  }
}

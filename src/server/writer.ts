import { AssertionFailure } from '../base/assert.js';
import { copyBytes } from '../base/bytes.js';
import { CairnError } from '../base/errors.js';
import { xxHash32 } from '../base/hash.js';
import { mutated } from '../base/mutations.js';
import type { GroupHost } from '../cluster/group-host.js';
import { partitionOf } from '../cluster/placement.js';
import { ABSENT, BLOCKED, type Engine } from '../engine/engine.js';
import type { FoundRecord } from '../engine/point-read.js';
import { isAbsentAt, recordHeaderBytes, TOMBSTONE_RECORD, writeRecordHeader } from '../lsm/record.js';
import { LATEST, MAX_USER_KEY_BYTES, type Revision } from '../lsm/row-key.js';
import { operationBytes, writeOperationHead } from '../replica/command.js';
import { MANY_KEYS, type Group } from '../replica/group.js';
import { MAX_REVISION, REVISIONS_PER_MS } from '../replica/revision-clock.js';
import type { BatchOperation, BatchResult, Condition, DeleteDone, PutOptions, WriteDone } from './service.js';

/** A state that is evicted as often as it is fetched ends in an answer instead of a loop. */
const MAX_FETCHES = 16;
/** Keeps one batch from holding the loop for long: 10,000 inserts take some 20 ms. */
export const MAX_BATCH_OPERATIONS = 10_000;

export interface WriterOptions {
  readonly host: GroupHost;
  readonly engine: Engine;
  readonly maxValueBytes: number;
  readonly maxEntryBytes: number;
}

/**
 * Evaluates writes and appends them. Evaluation and append are one synchronous step over the applied state plus the
 * group's unapplied writes (CORRECTNESS.md, Raft 21); what it needs from disk is fetched before, and fetched again
 * when it was evicted in between.
 */
export class Writer {
  readonly #host: GroupHost;
  readonly #engine: Engine;
  readonly #groups: readonly Group[];
  readonly #maxValueBytes: number;
  readonly #maxEntryBytes: number;
  /** The state of the key that `#readState` looked at: 0 when it is absent. */
  #stateRevision: Revision = 0;
  /** Whether that state is an unapplied write, so that an answer from it has to wait. */
  #stateUnapplied = false;
  /** The revision that the group's next entry takes in this step; what has expired by then is absent. */
  #stateInstant: Revision = 0;

  constructor(options: WriterOptions) {
    this.#host = options.host;
    this.#engine = options.engine;
    this.#groups = options.host.groups;
    this.#maxValueBytes = options.maxValueBytes;
    this.#maxEntryBytes = options.maxEntryBytes;
  }

  put(key: Uint8Array, start: number, length: number, value: Uint8Array, options: PutOptions, done: WriteDone): void {
    if (options.condition === null) {
      const refusal = this.tryPut(key, start, length, value, options, done);
      if (refusal !== null) queueMicrotask(() => done(refusal, 0));
      return;
    }
    const hash = xxHash32(key, start, length);
    const group = this.#groupOf(key, start, length, hash);
    const refusal = this.#host.admissionTo(group) ?? this.#checkSizes(length, value.length);
    if (refusal !== null) queueMicrotask(() => done(refusal, 0));
    else this.#conditionalPut(group, copyBytes(key, start, length), hash, value, options, options.condition, done);
  }

  /** As `LocalService.tryPut`. */
  tryPut(
    key: Uint8Array,
    start: number,
    length: number,
    value: Uint8Array,
    options: PutOptions,
    done: WriteDone,
  ): CairnError | null {
    const hash = xxHash32(key, start, length);
    const group = this.#groupOf(key, start, length, hash);
    const refusal = this.#host.admissionTo(group) ?? this.#checkSizes(length, value.length);
    if (refusal !== null) return refusal;
    const revision = this.#host.nextRevision(group);
    return this.#appendPut(group, revision, key, start, length, hash, value, options, done);
  }

  delete(key: Uint8Array, condition: Condition | null, done: DeleteDone): void {
    const hash = xxHash32(key, 0, key.length);
    const group = this.#groupOf(key, 0, key.length, hash);
    const refusal = this.#host.admissionTo(group) ?? this.#checkSizes(key.length, 0);
    if (refusal !== null) {
      queueMicrotask(() => done(refusal, 0, false));
      return;
    }
    const evaluate = (ownKey: Uint8Array): void => {
      const failure = condition === null ? null : this.#failure(condition);
      if (failure !== null) this.#answerFromState(group, (late) => done(late ?? failure, 0, false));
      else if (this.#stateRevision === 0) {
        const revision = Math.max(group.lastRevision, 1);
        this.#answerFromState(group, (late) => done(late, late === null ? revision : 0, false));
      } else {
        const revision = this.#stateInstant;
        this.#appendDelete(group, revision, ownKey, hash, (error, at) => done(error, at, error === null));
      }
    };
    this.#withState(group, key, hash, evaluate, (error) => done(error, 0, false));
  }

  batch(operations: readonly BatchOperation[], done: (results: readonly BatchResult[]) => void): void {
    const results: BatchResult[] = operations.map(() => UNDECIDED);
    const refusal = this.#host.admission() ?? checkBatchSize(operations.length);
    if (refusal !== null || operations.length === 0) {
      results.fill(failed(refusal));
      queueMicrotask(() => done(results));
      return;
    }
    const parts = this.#splitBatch(operations, results);
    let waiting = parts.length;
    const partDone = (): void => {
      if (--waiting === 0) done(results);
    };
    if (waiting === 0) queueMicrotask(() => done(results));
    // Views of the caller end with this call, so a part with deletes, which may wait for the disk, owns its bytes.
    for (const part of parts) {
      const notServing = part.group.isServing ? null : this.#host.notServing(part.group);
      if (notServing !== null) {
        for (const position of part.positions) results[position] = failed(notServing);
        queueMicrotask(partDone);
      } else if (part.operations.some((operation) => operation.kind === 'delete')) {
        part.operations = part.operations.map(ownBytes);
        void this.#batchWithDeletes(part, results, partDone);
      } else
        this.#appendPart(
          part,
          this.#host.nextRevision(part.group),
          part.operations.map(() => true),
          results,
          partDone,
        );
    }
  }

  #groupOf(key: Uint8Array, start: number, length: number, hash: number): Group {
    return this.#groups[partitionOf(key, start, length, hash, this.#groups.length)]!;
  }

  #checkSizes(keyLength: number, valueLength: number): CairnError | null {
    if (keyLength === 0 || keyLength > MAX_USER_KEY_BYTES) {
      return new CairnError('invalid_key', `expected a key of 1 to ${MAX_USER_KEY_BYTES} bytes, found ${keyLength}`);
    }
    if (valueLength <= this.#maxValueBytes) return null;
    return new CairnError(
      'too_large',
      `expected a value of at most ${this.#maxValueBytes} bytes, found ${valueLength}`,
    );
  }

  /** Null, or why it was not appended: then `done` is not called. */
  #appendPut(
    group: Group,
    revision: Revision,
    key: Uint8Array,
    keyStart: number,
    keyLength: number,
    hash: number,
    value: Uint8Array,
    options: PutOptions,
    done: WriteDone,
  ): CairnError | null {
    const headerBytes = recordHeaderBytes(options.ttlSeconds > 0, options.contentType.length);
    const recordBytes = headerBytes + value.length;
    const at = this.#host.append(group, revision, operationBytes(keyLength, recordBytes), hash, done);
    if (at < 0) return this.#host.refusal();
    writePut(this.#host.payloads, at, key, keyStart, keyLength, value, options, revision, recordBytes);
    return null;
  }

  #appendDelete(group: Group, revision: Revision, key: Uint8Array, hash: number, done: WriteDone): void {
    const payload = operationBytes(key.length, TOMBSTONE_RECORD.length);
    const at = this.#host.append(group, revision, payload, hash, done);
    if (at < 0) {
      const refusal = this.#host.refusal();
      queueMicrotask(() => done(refusal, 0));
      return;
    }
    writeDelete(this.#host.payloads, at, key);
  }

  #conditionalPut(
    group: Group,
    key: Uint8Array,
    hash: number,
    value: Uint8Array,
    options: PutOptions,
    condition: Condition,
    done: WriteDone,
  ): void {
    let ownValue = value;
    const evaluate = (): void => {
      const failure = this.#failure(condition);
      if (failure !== null) {
        this.#answerFromState(group, (late) => done(late ?? failure, 0));
        return;
      }
      const refusal = this.#appendPut(group, this.#stateInstant, key, 0, key.length, hash, ownValue, options, done);
      if (refusal !== null) queueMicrotask(() => done(refusal, 0));
    };
    if (this.#readState(group, key, hash)) evaluate();
    else {
      ownValue = copyBytes(value);
      this.#withState(group, key, hash, evaluate, (error) => done(error, 0));
    }
  }

  /** Calls `evaluate` in the step in which the key's state is known, now or after fetching it. */
  #withState(
    group: Group,
    key: Uint8Array,
    hash: number,
    evaluate: (ownKey: Uint8Array) => void,
    failed: (error: CairnError) => void,
  ): void {
    if (this.#readState(group, key, hash)) {
      evaluate(key);
      return;
    }
    const ownKey = copyBytes(key);
    this.#fetchState(group, ownKey, hash, () => evaluate(ownKey)).catch((error: unknown) =>
      failed(asCairnError(error)),
    );
  }

  /**
   * Calls `evaluate` in the very step in which the state is known. Not after this resolves: even one microtask in between
   * lets another write in (found by a simulated run: a condition was evaluated over another key's state).
   */
  async #fetchState(group: Group, key: Uint8Array, hash: number, evaluate: () => void): Promise<void> {
    for (let fetches = 0; fetches < MAX_FETCHES; fetches++) {
      const lastRevision = group.lastRevision;
      const version = await this.#engine.read(group.replicaId, key, hash, LATEST);
      const refusal = this.#host.admissionTo(group);
      if (refusal !== null) throw refusal;
      if (!this.#readState(group, key, hash)) {
        // When nothing was written to the group since the read began, what it saw is the state.
        if (group.lastRevision !== lastRevision) continue;
        this.#stateUnapplied = false;
        const absent = version === null || isAbsentAt(version.record, 0, this.#stateInstant);
        this.#stateRevision = absent ? 0 : version.revision;
      }
      evaluate();
      return;
    }
    throw new CairnError('overloaded', 'the block cache is too small to evaluate this condition now; retry');
  }

  /** False when a block has to be fetched first. Judges expiry at the revision that an append in this step would take. */
  #readState(group: Group, key: Uint8Array, hash: number, instant = this.#host.nextRevision(group)): boolean {
    this.#stateInstant = instant;
    const unapplied = group.findUnapplied(key, 0, key.length, hash);
    if (unapplied !== null) {
      const absent = isAbsentAt(group.foundBytes, group.foundStart, instant);
      this.#stateRevision = absent ? 0 : unapplied.revision;
      this.#stateUnapplied = true;
      return true;
    }
    const code = this.#engine.lookup(group.replicaId, key, 0, key.length, hash, LATEST);
    if (code === BLOCKED) return false;
    const hit = this.#engine.hit;
    const absent = code === ABSENT || isAbsentAt(hit.bytes, hit.start, instant);
    this.#stateRevision = absent ? 0 : hit.revision;
    this.#stateUnapplied = false;
    return true;
  }

  #failure(condition: Condition): CairnError | null {
    const current = this.#stateRevision;
    const { revisions, exists, absent } = condition;
    const holds =
      (exists !== true || current !== 0) &&
      (absent !== true || current === 0) &&
      (revisions === undefined || (current !== 0 && revisions.includes(current)));
    if (holds) return null;
    const expected =
      revisions !== undefined
        ? `revision ${revisions.join(' or ')}`
        : exists === true
          ? 'an existing key'
          : 'an absent key';
    const found = current === 0 ? 'no value' : `revision ${current}`;
    return new CairnError('precondition_failed', `expected ${expected}, found ${found}`, {
      extra: { currentRevision: current },
    });
  }

  /**
   * Gives an answer that appends nothing. It may rest on writes that are not committed yet, or on an expiry judged at an
   * instant that nothing durable binds; then it waits for both, and gets an error when that takes too long. Later reads judge at
   * that instant or above. With several voters a ReadIndex round shows that this was still the leader (Raft rule 8). While a scan holds
   * an earlier instant, the answer waits as a write would (Raft rule 22).
   */
  #answerFromState(group: Group, answer: (late: CairnError | null) => void): void {
    const host = this.#host;
    const instant = this.#stateInstant;
    const bound = host.rely(instant);
    const unapplied = this.#stateUnapplied;
    if (!host.readsAlone(group) && !mutated('server-refusal-without-round')) {
      const term = group.raft.term;
      const settled = async (): Promise<CairnError | null> => {
        await bound;
        while ((await host.linearize(group)) < instant && group.raft.term === term) {
          await host.whenLifted(group, instant);
        }
        if (unapplied && !mutated('server-refusal-before-commit')) await host.whenApplied(group);
        return group.raft.term === term ? null : host.notServing(group);
      };
      settled().then(answer, (error: unknown) => answer(asCairnError(error)));
    } else if (bound !== null) {
      void bound.then(
        () => host.afterUnapplied(group, answer),
        (error: unknown) => answer(asCairnError(error)),
      );
    } else if (unapplied && group.pendingCount > 0) host.afterUnapplied(group, answer);
    else queueMicrotask(() => answer(null));
  }

  /** Refuses what is invalid, key by key, and groups the rest by partition. */
  #splitBatch(operations: readonly BatchOperation[], results: BatchResult[]): BatchPart[] {
    const parts = new Map<Group, BatchPart>();
    const seen = new Set<string>();
    operations.forEach((operation, position) => {
      const { key } = operation;
      const text = Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1');
      const refusal = seen.has(text)
        ? new CairnError('invalid_request', 'the key stands more than once in the batch')
        : this.#checkSizes(key.length, operation.kind === 'put' ? operation.value.length : 0);
      seen.add(text);
      if (refusal !== null) {
        results[position] = failed(refusal);
        return;
      }
      const hash = xxHash32(key, 0, key.length);
      const group = this.#groupOf(key, 0, key.length, hash);
      let part = parts.get(group);
      if (part === undefined) parts.set(group, (part = { group, operations: [], positions: [], hashes: [] }));
      part.operations.push(operation);
      part.positions.push(position);
      part.hashes.push(hash);
    });
    return [...parts.values()];
  }

  /** Finds out which deletes meet a value and appends the part in the same step. */
  async #batchWithDeletes(part: BatchPart, results: BatchResult[], partDone: () => void): Promise<void> {
    const { group, operations, hashes } = part;
    const fetched = new Map<number, FoundRecord | null>();
    let fetchedAt: Revision = -1;
    try {
      for (let fetches = 0; fetches < MAX_FETCHES; fetches++) {
        if (fetchedAt !== group.lastRevision) fetched.clear();
        const missing: number[] = [];
        const instant = this.#host.nextRevision(group);
        const included = operations.map((operation, i) => {
          if (operation.kind !== 'delete') return true;
          if (this.#readState(group, operation.key, hashes[i]!, instant)) return this.#stateRevision !== 0;
          const version = fetched.get(i);
          if (version === undefined) missing.push(i);
          else if (version !== null) return !isAbsentAt(version.record, 0, instant);
          return false;
        });
        if (missing.length === 0) {
          const refusal = this.#host.admissionTo(group);
          if (refusal !== null) throw refusal;
          this.#finishPart(part, instant, included, results, partDone);
          return;
        }
        fetchedAt = group.lastRevision;
        const versions = await Promise.all(
          missing.map((i) => this.#engine.read(group.replicaId, operations[i]!.key, hashes[i]!, LATEST)),
        );
        missing.forEach((position, i) => fetched.set(position, versions[i]!));
      }
      throw new CairnError('overloaded', 'the keys of this batch change faster than they can be read; retry');
    } catch (error) {
      for (const position of part.positions) results[position] = failed(asCairnError(error));
      partDone();
    }
  }

  /** Appends what has something to write; a part of deletes that met nothing is only answered. */
  #finishPart(
    part: BatchPart,
    instant: Revision,
    included: readonly boolean[],
    results: BatchResult[],
    partDone: () => void,
  ): void {
    if (included.includes(true)) {
      this.#appendPart(part, instant, included, results, partDone);
      return;
    }
    this.#stateUnapplied = true;
    this.#stateInstant = instant;
    const revision = Math.max(part.group.lastRevision, 1);
    this.#answerFromState(part.group, (late) => {
      const result = late === null ? { error: null, revision, deleted: false } : failed(late);
      for (const position of part.positions) results[position] = result;
      partDone();
    });
  }

  /** One entry for the included operations; the others are deletes that met no value. */
  #appendPart(
    part: BatchPart,
    revision: Revision,
    included: readonly boolean[],
    results: BatchResult[],
    partDone: () => void,
  ): void {
    const { group, operations, positions, hashes } = part;
    let payloadBytes = 0;
    let count = 0;
    operations.forEach((operation, i) => {
      if (included[i] !== true) return;
      payloadBytes += operationBytes(operation.key.length, recordBytesOf(operation));
      count++;
    });
    const keyHash = count === 1 ? hashes[included.indexOf(true)]! : MANY_KEYS;
    const done: WriteDone = (error, applied) => {
      operations.forEach((operation, i) => {
        const deleted = error === null && operation.kind === 'delete' && included[i] === true;
        results[positions[i]!] = { error, revision: applied, deleted };
      });
      partDone();
    };
    if (payloadBytes > this.#maxEntryBytes) {
      const expected = `expected at most ${this.#maxEntryBytes} bytes for one partition in a batch`;
      queueMicrotask(() => done(new CairnError('too_large', `${expected}, found ${payloadBytes}`), 0));
      return;
    }
    let at = this.#host.append(group, revision, payloadBytes, keyHash, done);
    if (at < 0) {
      const refusal = this.#host.refusal();
      queueMicrotask(() => done(refusal, 0));
      return;
    }
    operations.forEach((operation, i) => {
      if (included[i] !== true) return;
      const { key } = operation;
      at =
        operation.kind === 'delete'
          ? writeDelete(this.#host.payloads, at, key)
          : writePut(
              this.#host.payloads,
              at,
              key,
              0,
              key.length,
              operation.value,
              operation,
              revision,
              recordBytesOf(operation),
            );
    });
  }
}

interface BatchPart {
  readonly group: Group;
  operations: BatchOperation[];
  readonly positions: number[];
  readonly hashes: number[];
}

const UNDECIDED: BatchResult = { error: null, revision: 0, deleted: false };

function failed(error: CairnError | null): BatchResult {
  return { error, revision: 0, deleted: false };
}

function checkBatchSize(count: number): CairnError | null {
  if (count <= MAX_BATCH_OPERATIONS) return null;
  return new CairnError('too_large', `expected at most ${MAX_BATCH_OPERATIONS} keys in a batch, found ${count}`);
}

/** A broken invariant is not answered: it becomes an unhandled rejection, which ends the process. */
function asCairnError(error: unknown): CairnError {
  if (error instanceof CairnError) return error;
  if (error instanceof AssertionFailure) throw error;
  return new CairnError('disk_error', error instanceof Error ? error.message : String(error), { cause: error });
}

function ownBytes(operation: BatchOperation): BatchOperation {
  const key = copyBytes(operation.key);
  return operation.kind === 'delete'
    ? { kind: 'delete', key }
    : { ...operation, key, value: copyBytes(operation.value) };
}

function recordBytesOf(operation: BatchOperation): number {
  if (operation.kind === 'delete') return TOMBSTONE_RECORD.length;
  return recordHeaderBytes(operation.ttlSeconds > 0, operation.contentType.length) + operation.value.length;
}

/** Writes one operation that stores a value; returns the offset after it. */
function writePut(
  target: Uint8Array,
  offset: number,
  key: Uint8Array,
  keyStart: number,
  keyLength: number,
  value: Uint8Array,
  options: { readonly ttlSeconds: number; readonly contentType: string },
  revision: Revision,
  recordBytes: number,
): number {
  const recordStart = writeOperationHead(target, offset, key, keyStart, keyLength, recordBytes);
  const expiresAt = options.ttlSeconds > 0 ? expiryOf(revision, options.ttlSeconds) : 0;
  target.set(value, writeRecordHeader(target, recordStart, expiresAt, options.contentType));
  return recordStart + recordBytes;
}

function writeDelete(target: Uint8Array, offset: number, key: Uint8Array): number {
  const at = writeOperationHead(target, offset, key, 0, key.length, TOMBSTONE_RECORD.length);
  target.set(TOMBSTONE_RECORD, at);
  return at + TOMBSTONE_RECORD.length;
}

function expiryOf(revision: Revision, ttlSeconds: number): Revision {
  return Math.min(revision + Math.ceil(ttlSeconds * 1000) * REVISIONS_PER_MS, MAX_REVISION);
}

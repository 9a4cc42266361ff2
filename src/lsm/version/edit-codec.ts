import { copyBytes, readUint32, readUint53, writeUint32, writeUint53 } from '../../base/bytes.js';
import { CorruptionError } from '../../base/errors.js';
import { MAX_ROW_KEY_BYTES } from '../row-key.js';
import type { TableFile } from './table-file.js';
import { MAX_LEVELS } from './version.js';
import {
  emptyGroupState,
  type AddedTable,
  type GroupState,
  type RemovedTable,
  type VersionEdit,
} from './version-edit.js';

/**
 * An edit as bytes: a run of fields, each a tag (u8) and what the tag says. Integers are little endian, u64 below 2^53. A
 * reader refuses unknown tags, so a field that gets more to say gets a new tag, and the old one stays readable. Framing and
 * checksum are the manifest's (engine/manifest).
 *
 *   1 next file number    u64                  8 removed group   groupId u32
 *   2 next replica id     u64                  9 added table     level u8, file u64, size u64, entries u64,
 *   3 clock bound         u64                                    smallest and largest revision u64, smallest and
 *   4 history floor       u64                                    largest row (u32 length, bytes)
 *   5 created replica     u32                 10 removed table   level u8, file u64
 *   6 dropped replica     u32                 11 pointer         level u8, row (u32 length, bytes)
 *                                             12 group state     as 7, then member id u64, config index u64,
 *                                                                configuration (u32 length, bytes)
 *   7 group state         only read, from before there were members: groupId u32, replicaId u32, applied index u64,
 *                         applied term u64, revision u64, term u64, vote u64; member id and config index are 0, the
 *                         configuration is empty
 */
const TAG_NEXT_FILE = 1;
const TAG_NEXT_REPLICA = 2;
const TAG_CLOCK_BOUND = 3;
const TAG_HISTORY_FLOOR = 4;
const TAG_CREATED_REPLICA = 5;
const TAG_DROPPED_REPLICA = 6;
const TAG_GROUP_WITHOUT_MEMBER = 7;
const TAG_REMOVED_GROUP = 8;
const TAG_ADDED_TABLE = 9;
const TAG_REMOVED_TABLE = 10;
const TAG_POINTER = 11;
const TAG_GROUP = 12;

const GROUP_FIXED_BYTES = 4 + 4 + 7 * 8 + 4;
/** Thousands of members would fit; more is corruption. */
const MAX_CONFIGURATION_BYTES = 1024 ** 2;
const TABLE_FIXED_BYTES = 1 + 5 * 8 + 4 + 4;

export function encodeEdit(edit: VersionEdit): Uint8Array {
  const writer = new EditWriter(editBytes(edit));
  if (edit.nextFileNumber !== undefined) writer.tag(TAG_NEXT_FILE).uint53(edit.nextFileNumber);
  if (edit.nextReplicaId !== undefined) writer.tag(TAG_NEXT_REPLICA).uint53(edit.nextReplicaId);
  if (edit.clockBound !== undefined) writer.tag(TAG_CLOCK_BOUND).uint53(edit.clockBound);
  if (edit.historyFloor !== undefined) writer.tag(TAG_HISTORY_FLOOR).uint53(edit.historyFloor);
  for (const replicaId of edit.createdReplicas ?? []) writer.tag(TAG_CREATED_REPLICA).uint32(replicaId);
  for (const replicaId of edit.droppedReplicas ?? []) writer.tag(TAG_DROPPED_REPLICA).uint32(replicaId);
  for (const group of edit.groups ?? []) {
    writer.tag(TAG_GROUP).uint32(group.groupId).uint32(group.replicaId).uint53(group.appliedIndex);
    writer.uint53(group.appliedTerm).uint53(group.revision).uint53(group.term).uint53(group.vote);
    writer.uint53(group.memberId).uint53(group.configIndex).bytes(group.configuration);
  }
  for (const groupId of edit.removedGroups ?? []) writer.tag(TAG_REMOVED_GROUP).uint32(groupId);
  for (const { level, table } of edit.added ?? []) {
    writer.tag(TAG_ADDED_TABLE).uint8(level).uint53(table.fileNumber).uint53(table.sizeBytes).uint53(table.entryCount);
    writer.uint53(table.smallestRevision).uint53(table.largestRevision);
    writer.bytes(table.smallestRow).bytes(table.largestRow);
  }
  for (const { level, fileNumber } of edit.removed ?? []) {
    writer.tag(TAG_REMOVED_TABLE).uint8(level).uint53(fileNumber);
  }
  for (const { level, row } of edit.pointers ?? []) writer.tag(TAG_POINTER).uint8(level).bytes(row);
  return writer.target;
}

/** `where` names the file and offset in a CorruptionError. */
export function decodeEdit(source: Uint8Array, where: string): VersionEdit {
  const reader = new EditReader(source, where);
  const numbers: { nextFileNumber?: number; nextReplicaId?: number; clockBound?: number; historyFloor?: number } = {};
  const createdReplicas: number[] = [];
  const droppedReplicas: number[] = [];
  const groups: GroupState[] = [];
  const removedGroups: number[] = [];
  const added: AddedTable[] = [];
  const removed: RemovedTable[] = [];
  const pointers: { level: number; row: Uint8Array }[] = [];
  while (!reader.atEnd) {
    const tag = reader.uint8();
    if (tag === TAG_NEXT_FILE) numbers.nextFileNumber = reader.uint53();
    else if (tag === TAG_NEXT_REPLICA) numbers.nextReplicaId = reader.uint53();
    else if (tag === TAG_CLOCK_BOUND) numbers.clockBound = reader.uint53();
    else if (tag === TAG_HISTORY_FLOOR) numbers.historyFloor = reader.uint53();
    else if (tag === TAG_CREATED_REPLICA) createdReplicas.push(reader.uint32());
    else if (tag === TAG_DROPPED_REPLICA) droppedReplicas.push(reader.uint32());
    else if (tag === TAG_GROUP) groups.push(readGroup(reader));
    else if (tag === TAG_GROUP_WITHOUT_MEMBER) groups.push(readGroupWithoutMember(reader));
    else if (tag === TAG_REMOVED_GROUP) removedGroups.push(reader.uint32());
    else if (tag === TAG_ADDED_TABLE) added.push({ level: reader.level(), table: readTable(reader) });
    else if (tag === TAG_REMOVED_TABLE) removed.push({ level: reader.level(), fileNumber: reader.uint53() });
    else if (tag === TAG_POINTER) pointers.push({ level: reader.level(), row: reader.row() });
    else throw new CorruptionError(where, 'a known field of an edit', `tag ${tag}`);
  }
  return { ...numbers, createdReplicas, droppedReplicas, groups, removedGroups, added, removed, pointers };
}

function readGroup(reader: EditReader): GroupState {
  return {
    ...readGroupWithoutMember(reader),
    memberId: reader.uint53(),
    configIndex: reader.uint53(),
    configuration: reader.bytes(MAX_CONFIGURATION_BYTES, 'configuration'),
  };
}

function readGroupWithoutMember(reader: EditReader): GroupState {
  return {
    ...emptyGroupState(reader.uint32(), reader.uint32()),
    appliedIndex: reader.uint53(),
    appliedTerm: reader.uint53(),
    revision: reader.uint53(),
    term: reader.uint53(),
    vote: reader.uint53(),
  };
}

function readTable(reader: EditReader): TableFile {
  return {
    fileNumber: reader.uint53(),
    sizeBytes: reader.uint53(),
    entryCount: reader.uint53(),
    smallestRevision: reader.uint53(),
    largestRevision: reader.uint53(),
    smallestRow: reader.row(),
    largestRow: reader.row(),
  };
}

function editBytes(edit: VersionEdit): number {
  let size = 0;
  for (const value of [edit.nextFileNumber, edit.nextReplicaId, edit.clockBound, edit.historyFloor]) {
    if (value !== undefined) size += 9;
  }
  size += 5 * (edit.createdReplicas?.length ?? 0) + 5 * (edit.droppedReplicas?.length ?? 0);
  for (const { configuration } of edit.groups ?? []) size += 1 + GROUP_FIXED_BYTES + configuration.length;
  size += 5 * (edit.removedGroups?.length ?? 0);
  for (const { table } of edit.added ?? []) {
    size += 1 + TABLE_FIXED_BYTES + table.smallestRow.length + table.largestRow.length;
  }
  size += 10 * (edit.removed?.length ?? 0);
  for (const { row } of edit.pointers ?? []) size += 6 + row.length;
  return size;
}

class EditWriter {
  readonly target: Uint8Array;
  #at = 0;

  constructor(sizeBytes: number) {
    this.target = new Uint8Array(sizeBytes);
  }

  tag(value: number): this {
    return this.uint8(value);
  }

  uint8(value: number): this {
    this.target[this.#at++] = value;
    return this;
  }

  uint32(value: number): this {
    writeUint32(this.target, this.#at, value);
    this.#at += 4;
    return this;
  }

  uint53(value: number): this {
    writeUint53(this.target, this.#at, value);
    this.#at += 8;
    return this;
  }

  bytes(value: Uint8Array): this {
    this.uint32(value.length);
    this.target.set(value, this.#at);
    this.#at += value.length;
    return this;
  }
}

class EditReader {
  readonly #source: Uint8Array;
  readonly #where: string;
  #at = 0;

  constructor(source: Uint8Array, where: string) {
    this.#source = source;
    this.#where = where;
  }

  get atEnd(): boolean {
    return this.#at === this.#source.length;
  }

  uint8(): number {
    return this.#source[this.#take(1)]!;
  }

  uint32(): number {
    return readUint32(this.#source, this.#take(4));
  }

  uint53(): number {
    const value = readUint53(this.#source, this.#take(8));
    if (value > Number.MAX_SAFE_INTEGER) throw new CorruptionError(this.#where, 'an integer below 2^53', `${value}`);
    return value;
  }

  level(): number {
    const level = this.uint8();
    if (level >= MAX_LEVELS) throw new CorruptionError(this.#where, `a level below ${MAX_LEVELS}`, `${level}`);
    return level;
  }

  row(): Uint8Array {
    return this.bytes(MAX_ROW_KEY_BYTES, 'row key');
  }

  bytes(atMost: number, what: string): Uint8Array {
    const length = this.uint32();
    if (length > atMost) {
      throw new CorruptionError(this.#where, `a ${what} of at most ${atMost} bytes`, `${length}`);
    }
    const start = this.#take(length);
    return copyBytes(this.#source, start, length);
  }

  #take(length: number): number {
    const start = this.#at;
    if (start + length > this.#source.length) {
      throw new CorruptionError(this.#where, `${length} more bytes of an edit`, `${this.#source.length - start}`);
    }
    this.#at = start + length;
    return start;
  }
}

import { assert } from '../../base/assert.js';
import { CairnError, CorruptionError } from '../../base/errors.js';
import { decodeEdit, encodeEdit } from '../../lsm/version/edit-codec.js';
import { applyEdit, EMPTY_VERSION, snapshotEdit, type Version } from '../../lsm/version/version.js';
import type { VersionEdit } from '../../lsm/version/version-edit.js';
import type { Disk, DiskFile } from '../../ports/disk.js';
import { readExactly, writeFully, writeNewFile } from '../file-io.js';
import { isOutOfSpace, isPassing } from '../retry.js';
import {
  CURRENT_NAME,
  CURRENT_TEMPORARY_NAME,
  decodeCurrent,
  decodeRecord,
  decodeSlot,
  encodeCurrent,
  encodeRecord,
  encodeSlot,
  manifestName,
  parseManifestName,
  recordBytes,
  RECORDS_START,
  SLOT_STRIDE_BYTES,
  type CommitSlot,
} from './format.js';

/** A manifest is rewritten as one record when it is larger than this and than four times that record. */
const REWRITE_BYTES = 4 * 1024 * 1024;

/**
 * The tree's durable history: what a version is after a crash. `append` is the commit point of every change; it is
 * called by one writer at a time (see version-set.ts). Format: format.ts.
 */
export class Manifest {
  readonly #disk: Disk;
  readonly #directory: string;
  #number: number;
  #file: DiskFile;
  #sequence: number;
  #end: number;
  #rewriteAt: number;

  private constructor(disk: Disk, directory: string, number: number, file: DiskFile, slot: CommitSlot) {
    this.#disk = disk;
    this.#directory = directory;
    this.#number = number;
    this.#file = file;
    this.#sequence = slot.sequence;
    this.#end = slot.durableEnd;
    this.#rewriteAt = Math.max(REWRITE_BYTES, 4 * slot.durableEnd);
  }

  /** Opens the directory's manifest, or starts one in an empty directory. `fresh`: it was started now. */
  static async open(disk: Disk, directory: string): Promise<{ manifest: Manifest; version: Version; fresh: boolean }> {
    const names = await disk.list(directory);
    if (!names.includes(CURRENT_NAME)) {
      await refuseTraces(disk, directory, names);
      const version = EMPTY_VERSION;
      const created = await createManifest(disk, directory, 1, version);
      await pointCurrentTo(disk, directory, 1);
      return { manifest: new Manifest(disk, directory, 1, created.file, created.slot), version, fresh: true };
    }
    const path = `${directory}/${CURRENT_NAME}`;
    const number = decodeCurrent(await readWhole(disk, path), path);
    // A process that was killed may have left the rename of CURRENT in memory only.
    await disk.syncDirectory(directory);
    for (const name of names) {
      // Left by a crash during a rewrite: before it CURRENT named the other one, after it this one.
      const other = parseManifestName(name);
      if ((other !== null && other !== number) || name === CURRENT_TEMPORARY_NAME) {
        await disk.remove(`${directory}/${name}`);
      }
    }
    const { version, slot: found, end, unstated } = await replay(disk, directory, number);
    const file = await disk.open(`${directory}/${manifestName(number)}`, 'write');
    const slot = { sequence: found.sequence + 1, durableEnd: end };
    try {
      // Behind the end there may be a torn edit, before it the padding of the last record may be missing.
      if ((await file.size()) !== end) await file.truncate(end);
      // Edits that no slot calls durable may be in memory only: their process was killed, or its sync failed, after which
      // another sync proves nothing. They are written again before anything relies on them, orphan collection above all.
      await writeFully(file, unstated, found.durableEnd);
      await file.sync();
      await writeFully(file, encodeSlot(number, slot), (slot.sequence % 2) * SLOT_STRIDE_BYTES);
      await file.sync();
    } catch (error) {
      await file.close();
      throw error;
    }
    return { manifest: new Manifest(disk, directory, number, file, slot), version, fresh: false };
  }

  get sizeBytes(): number {
    return this.#end;
  }

  /**
   * Makes `edit` durable; `after` is the version that it leads to. When this rejects, the edit may or may not be found
   * after a crash, and the next append takes its place.
   */
  async append(edit: VersionEdit, after: Version): Promise<void> {
    const bytes = encodeEdit(edit);
    // Nothing to remember: two callers may have asked for what the first edit did already.
    if (bytes.length === 0) return;
    const record = encodeRecord(this.#number, this.#end, bytes);
    await writeFully(this.#file, record, this.#end);
    await this.#file.sync();
    const slot = { sequence: this.#sequence + 1, durableEnd: this.#end + record.length };
    await writeFully(this.#file, encodeSlot(this.#number, slot), (slot.sequence % 2) * SLOT_STRIDE_BYTES);
    await this.#file.sync();
    this.#sequence = slot.sequence;
    this.#end = slot.durableEnd;
    if (this.#end > this.#rewriteAt) await this.#tryRewrite(after);
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  /** The edit is durable already, so a rewrite that finds no space or no file descriptor only waits for later. */
  async #tryRewrite(version: Version): Promise<void> {
    try {
      await this.#rewrite(version);
    } catch (error) {
      if (!isOutOfSpace(error) && !isPassing(error)) throw error;
      this.#rewriteAt = this.#end * 2;
    }
  }

  async #rewrite(version: Version): Promise<void> {
    const next = this.#number + 1;
    const path = `${this.#directory}/${manifestName(next)}`;
    // One that an earlier attempt could not finish, for want of space.
    if (await this.#disk.exists(path)) await this.#disk.remove(path);
    const { file, slot } = await createManifest(this.#disk, this.#directory, next, version);
    try {
      await pointCurrentTo(this.#disk, this.#directory, next);
    } catch (error) {
      await file.close();
      throw error;
    }
    const old = this.#file;
    const oldPath = `${this.#directory}/${manifestName(this.#number)}`;
    this.#number = next;
    this.#file = file;
    this.#sequence = slot.sequence;
    this.#end = slot.durableEnd;
    this.#rewriteAt = Math.max(REWRITE_BYTES, 4 * slot.durableEnd);
    await old.close();
    await this.#disk.remove(oldPath);
  }
}

interface Replayed {
  /** What the manifest's records lead to. */
  readonly version: Version;
  /** The newest one. */
  readonly slot: CommitSlot;
  /** Where the records end. */
  readonly end: number;
  /** The records up to `end` that the slot does not call durable. */
  readonly unstated: Uint8Array;
}

async function replay(disk: Disk, directory: string, number: number): Promise<Replayed> {
  const path = `${directory}/${manifestName(number)}`;
  if (!(await disk.exists(path))) throw new CorruptionError(path, 'the manifest that CURRENT names', 'no such file');
  const bytes = await readWhole(disk, path);
  const slots = [decodeSlot(bytes, 0, number, path), decodeSlot(bytes, SLOT_STRIDE_BYTES, number, path)].filter(
    (slot) => slot !== null,
  );
  const newest = slots.sort((a, b) => b.sequence - a.sequence)[0];
  if (newest === undefined) throw new CorruptionError(path, 'a valid commit slot at offset 0 or 4096', 'none');
  if (newest.durableEnd > bytes.length) {
    throw new CorruptionError(path, `${newest.durableEnd} acknowledged bytes`, `${bytes.length}`);
  }
  let version = EMPTY_VERSION;
  let at = RECORDS_START;
  for (;;) {
    const edit = decodeRecord(bytes, at, number);
    if (edit === null) break;
    const where = `${path} offset ${at}`;
    version = applyRead(version, decodeEdit(edit, where), where);
    at += recordBytes(edit.length);
  }
  if (at < newest.durableEnd) {
    throw new CorruptionError(`${path} offset ${at}`, 'a valid record below the durable end', 'a bad one');
  }
  return { version, slot: newest, end: at, unstated: bytes.subarray(newest.durableEnd, at) };
}

function applyRead(version: Version, edit: VersionEdit, where: string): Version {
  try {
    return applyEdit(version, edit);
  } catch (error) {
    throw new CorruptionError(where, 'an edit that fits the version', error instanceof Error ? error.message : '?');
  }
}

/** Without CURRENT the directory must be new, or one whose very first start was cut short before it could hold data. */
async function refuseTraces(disk: Disk, directory: string, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const number = parseManifestName(name);
    if (number === null) continue;
    if (number === 1 && !(await holdsEdits(disk, directory))) await disk.remove(`${directory}/${name}`);
    else throw new CorruptionError(`${directory}/${CURRENT_NAME}`, 'a name of a manifest', `no file, but ${name}`);
  }
  if (names.includes(CURRENT_TEMPORARY_NAME)) await disk.remove(`${directory}/${CURRENT_TEMPORARY_NAME}`);
}

async function holdsEdits(disk: Disk, directory: string): Promise<boolean> {
  const bytes = await readWhole(disk, `${directory}/${manifestName(1)}`);
  const first = decodeRecord(bytes, RECORDS_START, 1);
  return first !== null && decodeRecord(bytes, RECORDS_START + recordBytes(first.length), 1) !== null;
}

async function createManifest(
  disk: Disk,
  directory: string,
  number: number,
  version: Version,
): Promise<{ file: DiskFile; slot: CommitSlot }> {
  const file = await disk.open(`${directory}/${manifestName(number)}`, 'create');
  try {
    const record = encodeRecord(number, RECORDS_START, encodeEdit(snapshotEdit(version)));
    const slot = { sequence: 0, durableEnd: RECORDS_START + record.length };
    await writeFully(file, record, RECORDS_START);
    await writeFully(file, encodeSlot(number, slot), 0);
    await file.sync();
    await disk.syncDirectory(directory);
    return { file, slot };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function pointCurrentTo(disk: Disk, directory: string, number: number): Promise<void> {
  const temporary = `${directory}/${CURRENT_TEMPORARY_NAME}`;
  if (await disk.exists(temporary)) await disk.remove(temporary);
  await writeNewFile(disk, temporary, encodeCurrent(number));
  await disk.rename(temporary, `${directory}/${CURRENT_NAME}`);
  try {
    await disk.syncDirectory(directory);
  } catch (cause) {
    // From here on a crash may leave the old name or the new one: neither manifest may be written to. So nobody may take
    // this for a full disk and go on.
    throw new CairnError('disk_error', `${directory}: nobody knows which manifest CURRENT names`, { cause });
  }
}

async function readWhole(disk: Disk, path: string): Promise<Uint8Array> {
  const file = await disk.open(path, 'read');
  try {
    const bytes = new Uint8Array(await file.size());
    assert(bytes.length < 2 ** 32, `${path} is ${bytes.length} bytes`);
    await readExactly(file, bytes, 0);
    return bytes;
  } finally {
    await file.close();
  }
}

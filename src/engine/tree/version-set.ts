import { assert } from '../../base/assert.js';
import { applyEdit, type Version } from '../../lsm/version/version.js';
import type { VersionEdit } from '../../lsm/version/version-edit.js';
import type { Manifest } from '../manifest/manifest.js';
import type { Retry } from '../retry.js';
import type { OpenTable, TableStore } from './table-store.js';

/** File numbers are reserved in the manifest in runs of this many, so that none is given twice, also after a crash. */
const RESERVED_FILE_NUMBERS = 1000;

/** A version with its open tables, level by level in the version's order. */
export interface TreeView {
  readonly version: Version;
  readonly levels: readonly (readonly OpenTable[])[];
}

interface CountedView extends TreeView {
  pins: number;
}

/**
 * The current version and the older ones that somebody still reads. A table stays open while any of them holds it, and its file
 * is removed when none does (LSM rules 4 and 9). Commits go one by one.
 */
export class VersionSet {
  readonly #manifest: Manifest;
  readonly #store: TableStore;
  readonly #retry: Retry;
  readonly #onError: (error: unknown) => void;
  #current: CountedView;
  /** How many views hold a table. */
  readonly #holders = new Map<number, number>();
  #nextFileNumber: number;
  #commits: Promise<void> = Promise.resolve();
  readonly #removals = new Set<Promise<void>>();

  /** `tables`: all of `version`'s, open. */
  constructor(
    manifest: Manifest,
    store: TableStore,
    retry: Retry,
    version: Version,
    tables: ReadonlyMap<number, OpenTable>,
    onError: (error: unknown) => void,
  ) {
    this.#manifest = manifest;
    this.#store = store;
    this.#retry = retry;
    this.#onError = onError;
    this.#nextFileNumber = version.nextFileNumber;
    this.#current = this.#makeView(version, tables);
  }

  get current(): TreeView {
    return this.#current;
  }

  /** The current view, to be kept until `unpin`. */
  pin(): TreeView {
    this.#current.pins++;
    return this.#current;
  }

  unpin(view: TreeView): void {
    const counted = view as CountedView;
    assert(counted.pins > 0, 'a view is unpinned more often than pinned');
    if (--counted.pins === 0) this.#dropView(counted);
  }

  async allocateFileNumber(): Promise<number> {
    while (this.#nextFileNumber >= this.#current.version.nextFileNumber) await this.commit(() => ({}));
    return this.#nextFileNumber++;
  }

  /**
   * Makes an edit of the then current version durable and current. `tables` are those that it adds, open.
   * `installed` runs in the same turn in which the new version becomes current. A full disk is waited for.
   */
  commit(
    makeEdit: (version: Version) => VersionEdit,
    tables: readonly OpenTable[] = [],
    installed: () => void = () => {},
  ): Promise<void> {
    const commit = this.#commits.then(async () => {
      const version = this.#current.version;
      const edit = this.#withReservation(version, makeEdit(version));
      const next = applyEdit(version, edit);
      await this.#retry.run('manifest append', () => this.#manifest.append(edit, next));
      this.#install(next, tables);
      installed();
    });
    this.#commits = commit.catch(() => {});
    return commit;
  }

  /** When the commits and removals that are under way have ended. */
  async idle(): Promise<void> {
    await this.#commits;
    while (this.#removals.size > 0) await Promise.all(this.#removals);
  }

  #withReservation(version: Version, edit: VersionEdit): VersionEdit {
    const left = version.nextFileNumber - this.#nextFileNumber;
    if (left > RESERVED_FILE_NUMBERS / 2) return edit;
    return { ...edit, nextFileNumber: this.#nextFileNumber + RESERVED_FILE_NUMBERS };
  }

  #install(version: Version, added: readonly OpenTable[]): void {
    const tables = new Map(added.map((table) => [table.file.fileNumber, table]));
    for (const level of this.#current.levels) for (const table of level) tables.set(table.file.fileNumber, table);
    const old = this.#current;
    this.#current = this.#makeView(version, tables);
    this.unpin(old);
  }

  #makeView(version: Version, tables: ReadonlyMap<number, OpenTable>): CountedView {
    const levels = version.levels.map((files) =>
      files.map((file) => {
        const table = tables.get(file.fileNumber);
        assert(table !== undefined, `table ${file.fileNumber} is not open`);
        this.#holders.set(file.fileNumber, (this.#holders.get(file.fileNumber) ?? 0) + 1);
        return { file, reader: table.reader };
      }),
    );
    return { version, levels, pins: 1 };
  }

  #dropView(view: CountedView): void {
    for (const level of view.levels) {
      for (const { file } of level) {
        const holders = this.#holders.get(file.fileNumber)! - 1;
        if (holders > 0) {
          this.#holders.set(file.fileNumber, holders);
          continue;
        }
        this.#holders.delete(file.fileNumber);
        this.#removeTable(file.fileNumber);
      }
    }
  }

  #removeTable(fileNumber: number): void {
    const removal = this.#store
      .close(fileNumber)
      .then(() => this.#store.remove(fileNumber))
      .catch((error: unknown) => this.#onError(error))
      .finally(() => void this.#removals.delete(removal));
    this.#removals.add(removal);
  }
}

import { CorruptionError } from '../base/errors.js';
import type { Logger } from '../base/logger.js';
import type { Version } from '../lsm/version/version.js';
import type { Disk } from '../ports/disk.js';
import { makeDirectoryDurablySync } from './file-io.js';
import { CURRENT_NAME, parseManifestName } from './manifest/format.js';
import { Manifest } from './manifest/manifest.js';
import { parseTableName, tableName } from './tree/table-name.js';
import type { OpenTable, TableStore } from './tree/table-store.js';

const TABLES_OPENED_AT_ONCE = 8;

/** Below the engine's directory. */
export const TABLES_DIRECTORY = 'tables';

/** Whether a file in the engine's directory is a manifest or names one. */
export function isManifestName(name: string): boolean {
  return name === CURRENT_NAME || parseManifestName(name) !== null;
}

/** Makes the directories when they are missing, reads the manifest, and refuses what does not fit together. */
export async function openManifest(
  disk: Disk,
  directory: string,
  tablesDirectory: string,
): Promise<{ manifest: Manifest; version: Version }> {
  makeDirectoryDurablySync(disk.blocking, tablesDirectory);
  const current = `${directory}/${CURRENT_NAME}`;
  if (!(await disk.exists(current))) {
    const tables = (await disk.list(tablesDirectory)).filter((name) => parseTableName(name) !== null);
    if (tables.length > 0) throw new CorruptionError(current, 'a name of a manifest', `no file, but ${tables[0]}`);
  }
  return Manifest.open(disk, directory);
}

/**
 * Removes table files that the manifest does not name: outputs of work that a crash cut short, inputs that it kept. Refuses
 * when a file of the version is missing, or when there is a number that this manifest never reserved: then the manifest is
 * older than the tables, and what looks like an orphan may be the only copy (LSM rule 12).
 */
export async function collectOrphans(
  disk: Disk,
  tablesDirectory: string,
  version: Version,
  log: Logger,
): Promise<void> {
  const names = await disk.list(tablesDirectory);
  const present = new Set(names);
  const named = new Set<number>();
  for (const table of version.levels.flat()) {
    named.add(table.fileNumber);
    if (present.has(tableName(table.fileNumber))) continue;
    throw new CorruptionError(
      `${tablesDirectory}/${tableName(table.fileNumber)}`,
      'a table of the manifest',
      'no file',
    );
  }
  const orphans: string[] = [];
  for (const name of names) {
    const fileNumber = parseTableName(name);
    if (fileNumber === null || named.has(fileNumber)) continue;
    if (fileNumber >= version.nextFileNumber) {
      const expected = `a manifest that has reserved table ${fileNumber}`;
      throw new CorruptionError(`${tablesDirectory}/${name}`, expected, `one up to ${version.nextFileNumber - 1}`);
    }
    orphans.push(name);
  }
  for (const name of orphans) await disk.remove(`${tablesDirectory}/${name}`);
  if (orphans.length === 0) return;
  await disk.syncDirectory(tablesDirectory);
  log.info({ count: orphans.length, tables: orphans.slice(0, 10) }, 'removed tables that the manifest does not name');
}

/** Opens every table of the version; its footer, index and filter are checked. */
export async function openTables(store: TableStore, version: Version): Promise<Map<number, OpenTable>> {
  const waiting = version.levels.flat();
  const tables = new Map<number, OpenTable>();
  const openNext = async (): Promise<void> => {
    for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
      tables.set(file.fileNumber, await store.open(file));
    }
  };
  await Promise.all(Array.from({ length: TABLES_OPENED_AT_ONCE }, openNext));
  return tables;
}

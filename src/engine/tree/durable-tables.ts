import type { TableFile } from '../../lsm/version/table-file.js';
import type { Disk } from '../../ports/disk.js';
import type { Retry } from '../retry.js';
import type { TableStore } from './table-store.js';

export interface DurableTablesContext {
  readonly disk: Disk;
  readonly retry: Retry;
  readonly store: TableStore;
  readonly tablesDirectory: string;
}

/**
 * Makes tables that background workers wrote durable with their names (LSM rule 3). Workers leave the sync to this thread's
 * asynchronous calls, so that no flush waits for it in a worker.
 */
export async function makeTablesDurable(context: DurableTablesContext, tables: readonly TableFile[]): Promise<void> {
  const { disk, retry, store, tablesDirectory } = context;
  for (const { fileNumber } of tables) {
    const file = await retry.run('table open', () => disk.open(store.path(fileNumber), 'write'));
    try {
      await file.sync();
    } finally {
      await file.close();
    }
  }
  if (tables.length > 0) await disk.syncDirectory(tablesDirectory);
}

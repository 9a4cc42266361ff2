import { ReplicaImporter, type ReplicaImportContext } from './replica-importer.js';
import { ReplicaSnapshot, type ReplicaSnapshotContext, type ReplicaSnapshotRequest } from './replica-snapshot.js';

/** Input of one table, uncompressed. An import holds two of these in memory. */
const DEFAULT_BATCH_BYTES = 16 * 1024 * 1024;

export interface ReplicaImportOptions {
  /** Chunks are gathered up to this size for one table. 16 MiB unless told. */
  readonly batchBytes?: number;
}

/** The snapshots that are read and the imports that are under way, so that the engine can end them. */
export class ReplicaTransfers {
  readonly #context: ReplicaSnapshotContext & ReplicaImportContext;
  readonly #snapshots = new Set<ReplicaSnapshot>();
  readonly #importers = new Set<ReplicaImporter>();

  constructor(context: ReplicaSnapshotContext & ReplicaImportContext) {
    this.#context = context;
  }

  open(request: ReplicaSnapshotRequest): ReplicaSnapshot {
    const snapshot = new ReplicaSnapshot(this.#context, request, (closed) => void this.#snapshots.delete(closed));
    this.#snapshots.add(snapshot);
    return snapshot;
  }

  /** The new id is durable first, so that no later life gives it again (LSM rule 5). */
  async begin({ batchBytes = DEFAULT_BATCH_BYTES }: ReplicaImportOptions): Promise<ReplicaImporter> {
    let replicaId = 0;
    await this.#context.versions.commit((version) => {
      replicaId = version.nextReplicaId;
      return { nextReplicaId: replicaId + 1 };
    });
    const onEnd = (ended: ReplicaImporter): void => void this.#importers.delete(ended);
    const importer = new ReplicaImporter(this.#context, replicaId, batchBytes, onEnd);
    this.#importers.add(importer);
    return importer;
  }

  /** No file of a table is read or written by them any more. */
  async close(): Promise<void> {
    for (const snapshot of this.#snapshots) snapshot.close();
    await Promise.all([...this.#importers].map((importer) => importer.abort()));
  }
}

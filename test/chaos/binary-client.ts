import { CairnClient, ClientError, ConflictError, type WriteOptions } from '../../src/client/index.js';
import type { Condition, Outcome } from '../sim/checkers/operation.js';
import type { BatchEntry, ClusterClient, ScanOutcome, StaleOutcome } from '../sim/cluster/cluster-client.js';

const ANSWER_LIMIT_MS = 4000;

/** A client by the binary protocol: the product's own, of one node or of several. */
export class BinaryChaosClient implements ClusterClient {
  readonly #client: CairnClient;

  constructor(endpoints: readonly string[]) {
    this.#client = new CairnClient({
      endpoints,
      deadlineMs: ANSWER_LIMIT_MS,
      connectTimeoutMs: 1000,
      maxBackoffMs: 200,
      clientName: 'chaos',
      // With one node it says at once what it was told; with several it goes on to the next one.
      ...(endpoints.length === 1 ? { maxAttempts: 1 } : {}),
    });
  }

  async put(key: string, value: string, condition: Condition | null): Promise<Outcome> {
    try {
      const { revision } = await this.#client.put(key, value, optionsOf(condition));
      return { kind: 'written', revision };
    } catch (error) {
      return outcomeOfWrite(error);
    }
  }

  async delete(key: string, condition: Condition | null): Promise<Outcome> {
    try {
      const { deleted, revision } = await this.#client.delete(key, optionsOf(condition));
      return deleted ? { kind: 'deleted', revision } : { kind: 'nothing' };
    } catch (error) {
      return outcomeOfWrite(error);
    }
  }

  async get(key: string): Promise<Outcome> {
    try {
      const entry = await this.#client.get<string>(key);
      return entry === null ? { kind: 'absent' } : { kind: 'found', value: entry.value, revision: entry.revision };
    } catch (error) {
      if (error instanceof ClientError) return { kind: 'failed' };
      throw error;
    }
  }

  /** The client of the product does not tell how old it is that there is nothing. */
  async staleGet(key: string): Promise<StaleOutcome> {
    try {
      const entry = await this.#client.get<string>(key, { consistency: 'stale' });
      if (entry === null) return { kind: 'failed' };
      const { value, revision, stalenessMs = 0 } = entry;
      return { kind: 'found', value, revision, stalenessMs };
    } catch (error) {
      if (error instanceof ClientError) return { kind: 'failed' };
      throw error;
    }
  }

  async batch(entries: readonly BatchEntry[]): Promise<readonly Outcome[]> {
    try {
      const results = await this.#client.batch(entries.map(({ key, value }) => ({ put: key, value })));
      return results.map((result) =>
        result.error === undefined ? { kind: 'written', revision: result.revision } : outcomeOfWrite(result.error),
      );
    } catch (error) {
      return entries.map(() => outcomeOfWrite(error));
    }
  }

  /** The client of the product does not tell a range's revision; scans are asked for by HTTP. */
  scan(): Promise<ScanOutcome> {
    return Promise.resolve({ kind: 'failed' });
  }
}

function optionsOf(condition: Condition | null): WriteOptions {
  switch (condition?.kind) {
    case undefined:
      return {};
    case 'absent':
      return { ifAbsent: true };
    case 'present':
      return { ifExists: true };
    case 'revision':
      return { ifRevision: condition.revision };
  }
}

function outcomeOfWrite(error: unknown): Outcome {
  if (error instanceof ConflictError) return { kind: 'conflict', revision: error.currentRevision };
  if (error instanceof ClientError) return { kind: error.outcome === 'unknown' ? 'unknown' : 'failed' };
  throw error;
}

import { assert } from '../base/assert.js';
import { CairnError } from '../base/errors.js';
import type { Logger } from '../base/logger.js';
import { mutated } from '../base/mutations.js';
import type { Engine } from '../engine/engine.js';
import { ChunkJoiner } from '../engine/snapshot/chunk-joiner.js';
import type { ReplicaImporter } from '../engine/snapshot/replica-importer.js';
import { decodeConfiguration, encodeConfiguration } from '../raft/configuration-codec.js';
import type { MemberId } from '../raft/entry.js';
import type { SnapshotMessage } from '../raft/message.js';
import type { Group } from '../replica/group.js';

/** A stream of bytes to another node, which may be cut anywhere on its way. */
export interface BulkSink {
  write(chunk: Uint8Array): Promise<void>;
  /** Resolves when the other end has taken everything. */
  end(): Promise<unknown>;
  abort(reason: string): void;
}

/** A stream of bytes from another node. */
export interface BulkSource {
  /** Null behind the last chunk. */
  next(): Promise<Uint8Array | null>;
  finish(answer: Uint8Array): void;
  refuse(reason: string): void;
}

export interface SnapshotStreamsOptions {
  readonly engine: Engine;
  readonly logger: Logger;
  readonly openBulk: (nodeId: string, header: Uint8Array) => Promise<BulkSink>;
  /** The data has come: the group's core decides whether it is wanted. */
  readonly onReceived: (group: Group, message: SnapshotMessage, importer: ReplicaImporter) => void;
  /** The stream to this member has ended, well or not. Not `wasBegun`: there are too many, here or there. */
  readonly onSent: (group: Group, member: MemberId, wasBegun: boolean) => void;
}

/** Each costs two batches of memory on the receiver and a pinned view on the sender. */
const MOST_SENT = 2;
const MOST_RECEIVED = 2;
/** Travels as the reason of a refusal, and stands in the sender's error. */
const BUSY = 'other snapshots are being received';
const NOTHING = new Uint8Array(0);

/**
 * Snapshots of groups on their way between nodes. A stream that breaks is given up; the leader's core asks for another one when the
 * member shows no progress.
 */
export class SnapshotStreams {
  readonly #options: SnapshotStreamsOptions;
  readonly #sending = new Set<string>();
  /** Groups that receive one now. */
  readonly #receiving = new Set<Group>();
  sent = 0;
  received = 0;

  constructor(options: SnapshotStreamsOptions) {
    this.#options = options;
  }

  /** Starts a stream of what the group has applied; called between two entries. */
  send(group: Group, member: MemberId, nodeId: string): void {
    const name = `${group.groupId}:${member}`;
    if (this.#sending.has(name)) return;
    if (this.#sending.size >= MOST_SENT) {
      this.#options.onSent(group, member, false);
      return;
    }
    this.#sending.add(name);
    let wasBegun = true;
    this.#stream(group, member, nodeId)
      .catch((error: unknown) => {
        const reason = error instanceof Error ? error.message : String(error);
        if (reason.includes(BUSY)) wasBegun = false;
        this.#options.logger.warn({ partition: group.partition, to: nodeId, reason }, 'snapshot not sent');
      })
      .finally(() => {
        this.#sending.delete(name);
        this.#options.onSent(group, member, wasBegun);
      });
  }

  /** A stream that another node began. */
  receive(groupOf: (groupId: number) => Group | undefined, header: Uint8Array, source: BulkSource): void {
    let message: SnapshotMessage;
    try {
      message = decodeHeader(header);
    } catch (error) {
      source.refuse(`malformed header: ${error instanceof Error ? error.message : String(error)}`);
      return;
    }
    const group = groupOf(message.group);
    if (group === undefined || group.raft.id !== message.to) source.refuse('no such member here');
    else if (group.isInstalling || this.#receiving.has(group) || this.#receiving.size >= MOST_RECEIVED) {
      source.refuse(BUSY);
    } else void this.#receive(group, message, source);
  }

  async #stream(group: Group, member: MemberId, nodeId: string): Promise<void> {
    const { engine, logger, openBulk } = this.#options;
    const { appliedIndex, appliedTerm, appliedRevision, raft, replicaId } = group;
    const at = raft.configurationAt(appliedIndex);
    assert(at !== undefined, `the configuration of group ${group.groupId} at ${appliedIndex} is known`);
    const floor = engine.historyFloor;
    // Taken before anything is awaited: it is the state at exactly this index.
    const snapshot = engine.openReplicaSnapshot({ replicaId, floor, revision: appliedRevision });
    try {
      const header = encodeHeader({
        type: 'snapshot',
        group: group.groupId,
        from: raft.id,
        to: member,
        term: raft.term,
        snapshot: {
          index: appliedIndex,
          term: appliedTerm,
          revision: appliedRevision,
          configuration: at.configuration,
          configIndex: at.index,
          floor,
        },
      });
      const sink = await openBulk(nodeId, header);
      try {
        for (let chunk = await snapshot.next(); chunk !== null; chunk = await snapshot.next()) await sink.write(chunk);
      } catch (error) {
        sink.abort('the snapshot could not be read');
        throw error;
      }
      await sink.end();
      this.sent++;
      logger.info({ partition: group.partition, to: nodeId, index: appliedIndex }, 'snapshot sent');
    } finally {
      snapshot.close();
    }
  }

  async #receive(group: Group, message: SnapshotMessage, source: BulkSource): Promise<void> {
    const { engine, logger, onReceived } = this.#options;
    this.#receiving.add(group);
    let importer: ReplicaImporter | null = null;
    try {
      importer = await engine.beginReplicaImport();
      const joiner = new ChunkJoiner();
      for (let piece = await source.next(); piece !== null; piece = await source.next()) {
        if (mutated('cluster-snapshot-in-pieces')) await importer.add(piece);
        else joiner.push(piece);
        for (let chunk = joiner.next(); chunk !== null; chunk = joiner.next()) await importer.add(chunk);
      }
      // Before the core gives its log up for the snapshot.
      await importer.prepare();
      this.received++;
      onReceived(group, message, importer);
      source.finish(NOTHING);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      logger.warn({ partition: group.partition, reason }, 'snapshot not received');
      source.refuse(reason);
      await importer?.abort();
    } finally {
      this.#receiving.delete(group);
    }
  }
}

/** JSON: a header is sent once for megabytes. The configuration stands in hex, as it is in the log. */
function encodeHeader(message: SnapshotMessage): Uint8Array {
  const configuration = Buffer.from(encodeConfiguration(message.snapshot.configuration)).toString('hex');
  return Buffer.from(JSON.stringify({ ...message, snapshot: { ...message.snapshot, configuration } }));
}

function decodeHeader(header: Uint8Array): SnapshotMessage {
  const { group, from, to, term, snapshot } = JSON.parse(Buffer.from(header).toString('utf8')) as Record<
    string,
    unknown
  >;
  const { index, configIndex, floor, configuration, ...rest } = snapshot as Record<string, unknown>;
  return {
    type: 'snapshot',
    group: integer(group),
    from: integer(from),
    to: integer(to),
    term: integer(term),
    snapshot: {
      index: integer(index),
      term: integer(rest['term']),
      revision: integer(rest['revision']),
      configuration: decodeConfiguration(Buffer.from(String(configuration), 'hex')),
      configIndex: integer(configIndex),
      floor: integer(floor),
    },
  };
}

function integer(value: unknown): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new CairnError('protocol_error', `expected an integer of at least 0, found ${JSON.stringify(value)}`);
}

import { AssertionFailure } from '../../base/assert.js';
import { CairnError } from '../../base/errors.js';
import { mutated } from '../../base/mutations.js';
import type { InstantAnswer, InstantRequest } from '../../codec/instant-protocol.js';
import type { Revision } from '../../lsm/row-key.js';

/** The code of the error when a hold has ended by itself before it was confirmed. */
export const HOLD_ENDED = 'deadline_exceeded';

/** Asks the leaders on a node, which may be this one. Rejects with a CairnError. */
export type AskNode = (nodeId: string, request: InstantRequest, timeoutMs: number) => Promise<InstantAnswer>;

export interface InstantRoundOptions {
  /** The partitions to read, by the node that leads them. */
  readonly leaders: ReadonlyMap<string, readonly number[]>;
  /** This node's clock. */
  readonly from: Revision;
  /** Holds end by themselves then. */
  readonly holdMs: number;
  /** For each answer. */
  readonly timeoutMs: number;
  readonly ask: AskNode;
  /** All leaders hold: who comes from now on may have seen something newer. */
  readonly onHeld: () => void;
}

export interface Confirmed {
  /** At some moment of the round exactly what is at or below it was committed. */
  readonly revision: Revision;
  /** By partition: the log index at which a replica has all of that. */
  readonly indexes: ReadonlyMap<number, number>;
}

interface HeldNode {
  readonly nodeId: string;
  readonly partitions: readonly number[];
  readonly hold: number;
  readonly revision: Revision;
  readonly settled: boolean;
}

/**
 * One attempt to find an instant: raise, lift where leaders had different ideas of it, confirm. What went wrong anywhere ends it, and
 * lets go of what is held, so that writes don't wait for the holds' end.
 */
export class InstantRound {
  readonly #options: InstantRoundOptions;
  #failed = false;
  readonly #held: HeldNode[] = [];

  constructor(options: InstantRoundOptions) {
    this.#options = options;
  }

  async run(): Promise<Confirmed> {
    try {
      const { leaders, onHeld } = this.#options;
      await Promise.all(Array.from(leaders, ([nodeId, partitions]) => this.#raise(nodeId, partitions)));
      const revision = this.#highest();
      await Promise.all(this.#held.map((node) => this.#lift(node, revision)));
      onHeld();
      const indexes = new Map<number, number>();
      await Promise.all(this.#held.map((node) => this.#confirm(node, indexes)));
      return { revision, indexes };
    } catch (error) {
      this.#failed = true;
      for (const node of this.#held) this.#release(node);
      throw error;
    }
  }

  async #raise(nodeId: string, partitions: readonly number[]): Promise<void> {
    const { from, holdMs } = this.#options;
    const { hold, revision, settled } = await this.#ask(nodeId, { step: 'raise', revision: from, holdMs, partitions });
    const node = { nodeId, partitions, hold, revision, settled };
    if (this.#failed) this.#release(node);
    else this.#held.push(node);
  }

  #highest(): Revision {
    if (mutated('cluster-instant-of-one-node')) return this.#held[0]!.revision;
    return this.#held.reduce((highest, { revision }) => Math.max(highest, revision), 0);
  }

  async #lift({ nodeId, hold, revision: heldAt, settled }: HeldNode, revision: Revision): Promise<void> {
    if (heldAt < revision || !settled) await this.#ask(nodeId, { step: 'lift', hold, revision });
  }

  async #confirm({ nodeId, partitions, hold }: HeldNode, indexes: Map<number, number>): Promise<void> {
    const answer = await this.#ask(nodeId, { step: 'confirm', hold });
    addIndexes(indexes, nodeId, partitions, answer);
  }

  #release({ nodeId, hold }: HeldNode): void {
    this.#ask(nodeId, { step: 'release', hold }).catch((error: unknown) => {
      if (error instanceof AssertionFailure) throw error;
    });
  }

  #ask(nodeId: string, fields: Partial<InstantRequest> & Pick<InstantRequest, 'step'>): Promise<InstantAnswer> {
    return this.#options.ask(nodeId, { ...NO_FIELDS, ...fields }, this.#options.timeoutMs);
  }
}

export const NO_FIELDS = { revision: 0, hold: 0, holdMs: 0, partitions: [] } as const;

/** Of an answer to `confirm` or `reach`. */
export function addIndexes(
  indexes: Map<number, number>,
  nodeId: string,
  partitions: readonly number[],
  answer: InstantAnswer,
): void {
  if (answer.indexes.length !== partitions.length) {
    const found = `expected the indexes of ${partitions.length} partitions from ${nodeId}, found ${answer.indexes.length}`;
    throw new CairnError('protocol_error', found);
  }
  partitions.forEach((partition, i) => indexes.set(partition, answer.indexes[i]!));
}

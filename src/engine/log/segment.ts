/** The entries of one replica in one segment. */
export interface ReplicaRange {
  readonly group: number;
  readonly replicaId: number;
  /** The highest index that was ever written there, also when a later entry replaced it. */
  maxIndex: number;
}

/** What must be known of a segment to release it. */
export class Segment {
  readonly number: number;
  /** Size of its file. */
  fileBytes: number;
  /** Where the next record goes; in a finished segment, where the last one ends. */
  end: number;
  readonly #ranges = new Map<number, ReplicaRange>();
  #last: ReplicaRange | null = null;

  constructor(number: number, fileBytes: number, end: number) {
    this.number = number;
    this.fileBytes = fileBytes;
    this.end = end;
  }

  noteEntry(group: number, replicaId: number, index: number): void {
    let range = this.#last;
    if (range === null || range.replicaId !== replicaId) {
      range = this.#ranges.get(replicaId) ?? null;
      if (range === null) {
        range = { group, replicaId, maxIndex: index };
        this.#ranges.set(replicaId, range);
      }
      this.#last = range;
    }
    if (index > range.maxIndex) range.maxIndex = index;
  }

  /** The highest index of the replica that was written there; -1 for none. */
  lastIndexOf(replicaId: number): number {
    return this.#ranges.get(replicaId)?.maxIndex ?? -1;
  }

  /** Replicas in ascending order of their first entry in the segment. */
  get ranges(): Iterable<ReplicaRange> {
    return this.#ranges.values();
  }
}

/** A group's term, vote and commit index as last appended. */
export interface HardState {
  readonly group: number;
  readonly replicaId: number;
  readonly term: number;
  readonly vote: number;
  readonly commit: number;
  /** The segment that holds it. */
  readonly segment: number;
}

/** Whether a hard state says another term or vote than the group's last one. */
export function isVoteChange(before: HardState | undefined, replicaId: number, term: number, vote: number): boolean {
  return before === undefined || before.replicaId !== replicaId || before.term !== term || before.vote !== vote;
}

/** One line of the result: what was measured, against what, and the bars it has to clear. */
export interface Figure {
  readonly name: string;
  readonly title: string;
  /** What it is compared with, or what the number is when it stands alone. */
  readonly against: string;
  /** The number that is judged: a ratio to the reference, or a figure by itself. */
  readonly value: number;
  readonly unit: 'x' | 'ms' | 's' | 'MB';
  readonly bar: Bar;
  readonly ours: Series;
  readonly reference: Series | null;
}

export interface Bar {
  /** What has to hold. */
  readonly reach: number;
  /** Where the project is going. */
  readonly aim: number;
  readonly better: 'higher' | 'lower';
  /** A far aim: missing it is no failure. */
  readonly stretch?: true;
}

/** One number for each round. */
export interface Series {
  readonly name: string;
  readonly unit: string;
  readonly rounds: readonly number[];
}

/** How thoroughly to measure, and where. */
export interface Bench {
  /** Seconds in all instead of minutes: shows that everything runs, its numbers mean little. */
  readonly quick: boolean;
  readonly rounds: number;
  readonly seconds: number;
  /** An empty folder for this row, on the disk that is measured. */
  readonly folder: string;
  /** How much the long fill writes, in GB (10^9 bytes) of keys and values. */
  readonly fillGigabytes: number;
  /** Says on stderr what is going on. */
  readonly say: (text: string) => void;
}

export interface Row {
  readonly name: string;
  readonly title: string;
  /** Takes so long that it runs only when it is asked for. */
  readonly isLong?: true;
  /** Rejects with Unavailable when this machine lacks what it takes. */
  readonly run: (bench: Bench) => Promise<readonly Figure[]>;
}

/** A tool or peer that is not installed: said in the result, not a failure. */
export class Unavailable extends Error {
  override readonly name = 'Unavailable';
}

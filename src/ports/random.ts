/** Randomness as a node sees it: the system's in production, a seeded generator in the simulator. */
export interface Random {
  /** A uniform integer in [0, 2^32). */
  uint32(): number;
  /** Fills the whole array. */
  fill(target: Uint8Array): void;
}

/** Time as a node sees it. The simulator replaces it by a seeded one that jumps and drifts. */
export interface Clock {
  /** Milliseconds since the Unix epoch, integer. May jump in both directions. */
  wallMs(): number;
  /** Milliseconds from an arbitrary start, fractional. Never goes back. */
  monotonicMs(): number;
  /** Calls back once, `delayMs` from now in monotonic time. The timer does not keep the process alive. */
  setTimer(delayMs: number, callback: () => void): Timer;
  /** Calls back once at the end of this loop turn, after the sockets that are ready now have been read. */
  defer(callback: () => void): void;
}

export interface Timer {
  /** No effect after the call back or a second time. */
  cancel(): void;
}

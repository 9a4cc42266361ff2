/**
 * A thread that reads and decodes blocks for the main thread (engine/block-reader). The two talk through shared memory; the
 * port only starts the thread and carries wake-ups. It is an accelerator: without it, or after its end, blocks come
 * through `Disk`.
 */
export interface BlockReaderJob {
  /** Laid out by engine/block-reader/shared-slots.ts. */
  readonly slots: SharedArrayBuffer;
  readonly tablesDirectory: string;
}

export interface BlockReaderThread {
  /** Some requests were answered. Set before `start`. */
  onProgress: () => void;
  /** The thread is gone, whatever the reason; nothing more is answered. */
  onEnd: () => void;
  start(job: BlockReaderJob): void;
  /** Wakes the thread when it sleeps. */
  wake(): void;
  /** Whether somebody waits for an answer. Only then does the thread keep the process alive. */
  hold(needed: boolean): void;
  stop(): Promise<void>;
}

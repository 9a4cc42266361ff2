/**
 * The log's own thread as the main thread sees it. Both sides share two areas: the ring with the bytes of the records
 * and the control area that says which of them are published and durable (layout: engine/log/shared-area.ts).
 * In production a worker thread serves them, in the simulator timers over the simulated disk.
 */
export interface LogWriterJob {
  readonly directory: string;
  readonly ring: SharedArrayBuffer;
  readonly control: SharedArrayBuffer;
  /** 16 bytes that every record's checksum is bound to. */
  readonly logId: Uint8Array;
}

export interface LogWriter {
  /** Some records became durable, or the disk became full or has space again: read the control area. */
  onProgress: () => void;
  /** Called at most once: the writer does nothing any more. Also when its thread dies. */
  onFailure: (error: Error) => void;
  /** Called once, before the first `wake`. */
  start(job: LogWriterJob): void;
  /** More records were published. */
  wake(): void;
  /** Resolves when the writer has stopped; records that were published and not yet written may be left out. */
  stop(): Promise<void>;
}

/** What the real writer's thread tells the main thread. */
export type LogThreadMessage =
  | { readonly type: 'progress' }
  | { readonly type: 'stopped' }
  | { readonly type: 'failed'; readonly code: string; readonly path: string; readonly text: string };

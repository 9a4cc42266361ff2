/**
 * Runs jobs beside the main thread: a Piscina pool in production, inline under the seeded scheduler in the simulator.
 * `Jobs` maps a job's name to its input and output. Inputs and outputs are structured-cloned; big data crosses as
 * SharedArrayBuffers inside them.
 */
export type JobMap = Record<string, { input: unknown; output: unknown }>;

export type JobPriority =
  /** Writers wait for it, soon or now: a flush. Runs beside the background jobs, never behind them. */
  | 'urgent'
  /** Takes what the processors have left. */
  | 'background';

export interface Executor<Jobs extends JobMap> {
  /** Rejects with the job's own error (code and message kept), or `unavailable` when its worker died. */
  run<Name extends keyof Jobs & string>(
    name: Name,
    input: Jobs[Name]['input'],
    priority: JobPriority,
  ): Promise<Jobs[Name]['output']>;
  close(): Promise<void>;
}

import { CairnError } from '../../src/base/errors.js';

/** The jobs that every executor under test must know. */
export interface ConformanceJobs {
  [name: string]: { input: unknown; output: unknown };
  /** Returns its input. */
  echo: { input: unknown; output: unknown };
  /** Adds one to each byte of the shared buffer. */
  increment: { input: { shared: SharedArrayBuffer }; output: number };
  /** Throws `CairnError(corruption, message)`. */
  fail: { input: { message: string }; output: never };
}

/** What the functions behind the jobs are, for executors that take functions. */
export const conformanceFunctions = {
  echo: (input: unknown): unknown => input,
  increment: ({ shared }: { shared: SharedArrayBuffer }): number => {
    const bytes = new Uint8Array(shared);
    for (let i = 0; i < bytes.length; i++) bytes[i]!++;
    return bytes.length;
  },
  fail: ({ message }: { message: string }): never => {
    throw new CairnError('corruption', message);
  },
};

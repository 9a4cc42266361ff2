import { CairnError, CorruptionError } from '../../src/base/errors.js';
import { answerOf, type JobAnswer } from '../../src/platform/job-errors.js';
import { DiskError } from '../../src/ports/disk.js';

/** The worker of piscina-executor.test.ts. */
export type TestJobs = {
  echo: { input: string; output: string };
  /** Waits until the first word is not 0, then appends its own number to the list behind it. */
  append: { input: { readonly shared: SharedArrayBuffer; readonly number: number }; output: null };
  fail: { input: 'disk' | 'corruption' | 'cairn' | 'type'; output: null };
  die: { input: null; output: null };
};

type Task<Name extends keyof TestJobs> = { readonly input: TestJobs[Name]['input'] };

export function echo({ input }: Task<'echo'>): JobAnswer {
  return answerOf(() => input);
}

export function append({ input }: Task<'append'>): JobAnswer {
  return answerOf(() => {
    const words = new Int32Array(input.shared);
    Atomics.wait(words, 0, 0);
    words[1 + Atomics.add(words, 1, 1) + 1] = input.number;
    return null;
  });
}

export function fail({ input }: Task<'fail'>): JobAnswer {
  return answerOf(() => {
    if (input === 'disk') throw new DiskError('ENOSPC', 'write', '/data/a: b.sst');
    if (input === 'corruption') throw new CorruptionError('table 7', 'a checksum', 'another');
    if (input === 'cairn') throw new CairnError('too_large', 'a message');
    throw new TypeError('a mistake');
  });
}

export function die(_task: Task<'die'>): JobAnswer {
  process.exit(7);
}

import { answerOf, type JobAnswer } from '../../src/platform/job-errors.js';
import { conformanceFunctions } from './executor-jobs.js';

/** The worker of the real executor under test. */
export function echo({ input }: { input: unknown }): JobAnswer {
  return answerOf(() => conformanceFunctions.echo(input));
}

export function increment({ input }: { input: { shared: SharedArrayBuffer } }): JobAnswer {
  return answerOf(() => conformanceFunctions.increment(input));
}

export function fail({ input }: { input: { message: string } }): JobAnswer {
  return answerOf(() => conformanceFunctions.fail(input));
}

export function die(): never {
  process.exit(1);
}

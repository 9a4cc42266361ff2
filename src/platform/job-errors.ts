import { CairnError, type ErrorCode } from '../base/errors.js';
import { DiskError } from '../ports/disk.js';

/**
 * Errors between threads. A structured clone keeps only an error's message and stack, so a worker answers with one of these
 * instead of throwing, and the pool makes the error anew.
 */
export type JobAnswer =
  | { readonly ok: true; readonly output: unknown }
  | { readonly ok: false; readonly failure: JobFailure };

interface JobFailure {
  readonly kind: 'disk' | 'cairn' | 'other';
  readonly code: string;
  readonly message: string;
  readonly stack: string;
  /** Of a disk error: what was done to which file. */
  readonly operation: string;
  readonly path: string;
}

export function answerOf(work: () => unknown): JobAnswer {
  try {
    return { ok: true, output: work() };
  } catch (error) {
    return { ok: false, failure: describeFailure(error) };
  }
}

function describeFailure(error: unknown): JobFailure {
  const message = error instanceof Error ? error.message : String(error);
  const stack = error instanceof Error ? (error.stack ?? '') : '';
  const none = { operation: '', path: '' };
  if (error instanceof DiskError) {
    const operation = message.slice(0, message.indexOf(` ${error.path}: `));
    return { kind: 'disk', code: error.code, message, stack, operation, path: error.path };
  }
  if (error instanceof CairnError) return { kind: 'cairn', code: error.code, message, stack, ...none };
  return { kind: 'other', code: 'internal', message, stack, ...none };
}

/** The error that the worker met: same class, code and message; its stack is the cause's. */
export function failureToError(failure: JobFailure): Error {
  const cause = new Error(failure.message);
  cause.stack = failure.stack;
  if (failure.kind === 'disk') return new DiskError(failure.code, failure.operation, failure.path, cause);
  if (failure.kind === 'cairn') return new CairnError(failure.code as ErrorCode, failure.message, { cause });
  return new Error(failure.message, { cause });
}

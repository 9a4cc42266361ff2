import { CommanderError } from 'commander';
import { CairnError } from '../base/errors.js';
import {
  AuthError,
  ClientError,
  ConflictError,
  InvalidRequestError,
  UnavailableError,
  DeadlineError,
} from '../client/index.js';

/** What scripts rely on (docs: `cairn --help`). */
export const EXIT_CODES = { ok: 0, error: 1, usage: 2, notFound: 3, conflict: 4, auth: 5, unavailable: 6 } as const;

/** The command line can't be right. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Nothing is stored under the key. */
export class NotFoundError extends Error {
  override readonly name = 'NotFoundError';
}

/** A command that has said already what went wrong. */
export class SaidError extends Error {
  override readonly name = 'SaidError';
  readonly exitCode: number;

  constructor(exitCode: number) {
    super(`exit code ${exitCode}`);
    this.exitCode = exitCode;
  }
}

/** The cluster, or a part of it, can't serve now. */
export class NotServingError extends Error {
  override readonly name = 'NotServingError';
}

export function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_CODES.ok : EXIT_CODES.usage;
  if (error instanceof UsageError) return EXIT_CODES.usage;
  if (error instanceof NotFoundError) return EXIT_CODES.notFound;
  if (error instanceof ConflictError) return EXIT_CODES.conflict;
  if (error instanceof AuthError) return EXIT_CODES.auth;
  if (error instanceof SaidError) return error.exitCode;
  if (error instanceof NotServingError) return EXIT_CODES.unavailable;
  if (error instanceof UnavailableError || error instanceof DeadlineError) return EXIT_CODES.unavailable;
  if (error instanceof InvalidRequestError && error.outcome === 'not_executed') return EXIT_CODES.usage;
  return EXIT_CODES.error;
}

/** One line, with what became of a write where that is in doubt. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error instanceof ClientError) {
    const doubt = error.outcome === 'unknown' ? ' (it may or may not have taken place)' : '';
    return `${error.code}: ${error.message}${doubt}`;
  }
  if (error instanceof CairnError) return `${error.code}: ${error.message}`;
  return error.message;
}

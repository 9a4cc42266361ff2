import type { CairnError } from '../base/errors.js';

/**
 * What became of a write whose call failed.
 * - 'not_executed': the server never took it up; doing it again is safe.
 * - 'refused': the server looked at it and wrote nothing.
 * - 'unknown': it was sent and no answer came: it took place once or not at all.
 */
export type Outcome = 'not_executed' | 'refused' | 'unknown';

/** Every error of a call but an abort, which rejects with the signal's own reason. */
export class ClientError extends Error {
  override readonly name: string = 'ClientError';
  /** Stable; the list is in proto/README.md. A newer server may send one that is not there. */
  readonly code: string;
  readonly outcome: Outcome;
  readonly extra: Readonly<Record<string, string | number | boolean>>;

  constructor(
    code: string,
    message: string,
    outcome: Outcome,
    details: { extra?: ClientError['extra']; cause?: unknown } = {},
  ) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.outcome = outcome;
    this.extra = details.extra ?? {};
  }
}

/** A condition did not hold. */
export class ConflictError extends ClientError {
  override readonly name = 'ConflictError';

  /** The revision that the key has, 0 when it is absent. */
  get currentRevision(): number {
    return Number(this.extra['currentRevision'] ?? 0);
  }
}

/** No endpoint can be reached, or the one that was reached can't serve now. */
export class UnavailableError extends ClientError {
  override readonly name = 'UnavailableError';
}

/** The deadline passed. A write's outcome is unknown when it had been sent. */
export class DeadlineError extends ClientError {
  override readonly name = 'DeadlineError';
}

/** The request can't be right: key, value, option or size. */
export class InvalidRequestError extends ClientError {
  override readonly name = 'InvalidRequestError';
}

/** The token is missing, wrong, or does not allow this. */
export class AuthError extends ClientError {
  override readonly name = 'AuthError';
}

/** The history that was asked for has been dropped. */
export class HistoryGoneError extends ClientError {
  override readonly name = 'HistoryGoneError';

  /** The oldest revision that can be read. */
  get minRevision(): number {
    return Number(this.extra['minRevision'] ?? 0);
  }
}

type ErrorClass = new (...parameters: ConstructorParameters<typeof ClientError>) => ClientError;

const CLASSES: Readonly<Record<string, ErrorClass>> = {
  precondition_failed: ConflictError,
  unavailable: UnavailableError,
  overloaded: UnavailableError,
  shutting_down: UnavailableError,
  not_leader: UnavailableError,
  not_ready: UnavailableError,
  deadline_exceeded: DeadlineError,
  invalid_request: InvalidRequestError,
  invalid_key: InvalidRequestError,
  invalid_json: InvalidRequestError,
  invalid_cursor: InvalidRequestError,
  unsupported_media_type: InvalidRequestError,
  too_large: InvalidRequestError,
  history_gone: HistoryGoneError,
  unauthenticated: AuthError,
  permission_denied: AuthError,
};

/** Refusals that come before anything is executed, so that the same request may be sent again, also a write. */
const NOT_EXECUTED = new Set(['unavailable', 'overloaded', 'shutting_down', 'not_leader', 'not_ready']);
/** The server took the request up and can't say what became of it. */
const UNKNOWN = new Set(['deadline_exceeded', 'disk_error', 'internal']);

export function outcomeOf(code: string): Outcome {
  return NOT_EXECUTED.has(code) ? 'not_executed' : UNKNOWN.has(code) ? 'unknown' : 'refused';
}

export function clientError(error: CairnError): ClientError {
  const type = CLASSES[error.code] ?? ClientError;
  return new type(error.code, error.message, outcomeOf(error.code), { extra: error.extra ?? {}, cause: error.cause });
}

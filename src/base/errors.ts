/**
 * The closed set of things that may go wrong. The same code stands in an HTTP problem, in a binary error frame and
 * in the client's typed errors; `server/problem.ts` maps each to its HTTP status.
 */
export type ErrorCode =
  | 'invalid_request'
  | 'invalid_key'
  | 'invalid_json'
  | 'invalid_cursor'
  | 'key_not_found'
  | 'route_not_found'
  | 'method_not_allowed'
  | 'precondition_failed'
  | 'history_gone'
  | 'too_large'
  | 'unsupported_media_type'
  | 'not_implemented'
  | 'overloaded'
  | 'unavailable'
  | 'shutting_down'
  /** Between nodes: another node leads the partition (extra `leader`, where it is known); nothing was executed. */
  | 'not_leader'
  /** The leader of the partition can't evaluate yet; nothing was executed. */
  | 'not_ready'
  | 'deadline_exceeded'
  | 'disk_full'
  | 'disk_error'
  | 'corruption'
  | 'configuration'
  | 'protocol_error'
  | 'internal';

export interface ErrorDetails {
  /** Further members of the answer, for example the current revision of a failed condition. */
  readonly extra?: Readonly<Record<string, string | number | boolean>>;
  readonly cause?: unknown;
}

/** An expected failure: names what was expected and what was found. */
export class CairnError extends Error {
  override readonly name: string = 'CairnError';
  readonly code: ErrorCode;
  readonly extra: Readonly<Record<string, string | number | boolean>> | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.extra = details.extra;
  }
}

/** Bytes on disk that fail their checksum or break their format: where, what was expected, what was found. */
export class CorruptionError extends CairnError {
  override readonly name: string = 'CorruptionError';

  constructor(where: string, expected: string, found: string) {
    super('corruption', `${where}: expected ${expected}, found ${found}`);
  }
}

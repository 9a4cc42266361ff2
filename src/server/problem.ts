import { CairnError, type ErrorCode } from '../base/errors.js';

interface ProblemKind {
  readonly status: number;
  readonly title: string;
}

const KINDS: Readonly<Record<ErrorCode, ProblemKind>> = {
  invalid_request: { status: 400, title: 'Invalid request' },
  invalid_key: { status: 400, title: 'Invalid key' },
  invalid_json: { status: 400, title: 'Invalid JSON' },
  invalid_cursor: { status: 400, title: 'Invalid cursor' },
  key_not_found: { status: 404, title: 'Key not found' },
  route_not_found: { status: 404, title: 'Route not found' },
  method_not_allowed: { status: 405, title: 'Method not allowed' },
  history_gone: { status: 410, title: 'History is gone' },
  precondition_failed: { status: 412, title: 'Precondition failed' },
  too_large: { status: 413, title: 'Too large' },
  unsupported_media_type: { status: 415, title: 'Unsupported media type' },
  internal: { status: 500, title: 'Internal error' },
  configuration: { status: 500, title: 'Configuration error' },
  protocol_error: { status: 500, title: 'Protocol error' },
  disk_error: { status: 500, title: 'Disk error' },
  corruption: { status: 500, title: 'Corrupt data' },
  not_implemented: { status: 501, title: 'Not implemented' },
  overloaded: { status: 503, title: 'Overloaded' },
  unavailable: { status: 503, title: 'Unavailable' },
  shutting_down: { status: 503, title: 'Shutting down' },
  not_leader: { status: 503, title: 'Another node leads the partition' },
  not_ready: { status: 503, title: 'The leader is not ready yet' },
  deadline_exceeded: { status: 504, title: 'Deadline exceeded, outcome unknown' },
  disk_full: { status: 507, title: 'Disk full' },
};

const REASONS: Readonly<Record<number, string>> = {
  200: 'OK',
  204: 'No Content',
  207: 'Multi-Status',
  304: 'Not Modified',
  400: 'Bad Request',
  404: 'Not Found',
  405: 'Method Not Allowed',
  410: 'Gone',
  412: 'Precondition Failed',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
  507: 'Insufficient Storage',
};

/** How long a client should wait before it tries a 503 or a 507 again. */
export const RETRY_AFTER_SECONDS = 1;

export function statusOf(code: ErrorCode): number {
  return KINDS[code].status;
}

/** "404 Not Found". */
export function statusLine(status: number): string {
  return `${status} ${REASONS[status] ?? 'Unknown'}`;
}

/** The error as an RFC 9457 problem, to be sent as application/problem+json or inside a list of results. */
export function problemObject(error: CairnError): Record<string, string | number | boolean> {
  const kind = KINDS[error.code];
  return {
    ...error.extra,
    ...(error.code === 'deadline_exceeded' ? { outcome: 'unknown' } : {}),
    type: `urn:cairn:problem:${error.code}`,
    title: kind.title,
    status: kind.status,
    detail: error.message,
    code: error.code,
  };
}

/** Errors that nobody foresaw become `internal`; their text stays in the log, away from the client. */
export function asCairnError(error: unknown): CairnError {
  if (error instanceof CairnError) return error;
  return new CairnError('internal', 'an unexpected error; the log of the node says more', { cause: error });
}

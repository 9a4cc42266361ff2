import { CairnError } from '../../base/errors.js';

export function notImplemented(what: string): CairnError {
  return new CairnError('not_implemented', `${what} is not part of this version`);
}

/** Ignoring the header would break its promise of one effect per key, so it is refused. */
export function refuseIdempotencyKey(value: string): void {
  if (value !== '') throw notImplemented('Idempotency-Key (exactly-once retries of writes)');
}

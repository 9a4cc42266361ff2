import { recordContentType, recordExpiresAt, recordPayloadStart } from '../lsm/record.js';
import type { Revision } from '../lsm/row-key.js';
import { revisionToMs } from '../replica/revision-clock.js';
import type { StoredVersion } from './service.js';

/** `record` is the caller's own copy. */
export function storedVersion(record: Uint8Array, revision: Revision): StoredVersion {
  const payload = recordPayloadStart(record, 0, record.length);
  const expiresAt = recordExpiresAt(record, 0);
  return {
    value: record.subarray(payload),
    revision,
    expiresAtMs: expiresAt === 0 ? 0 : revisionToMs(expiresAt),
    contentType: recordContentType(record, 0),
  };
}

import { CairnError } from '../../base/errors.js';
import type { Revision } from '../../lsm/row-key.js';
import type { Condition } from '../service.js';

/** One entity tag and the comma or the end after it (RFC 9110 section 8.8.3). */
const ENTITY_TAG = /[ \t]*(W\/)?"([\x21\x23-\x7e\x80-\xff]*)"[ \t]*(?:,|$)/y;

/** The condition of a write, or null. `If-Match` with tags that no revision has never holds. Throws `invalid_request`. */
export function writeCondition(ifMatch: string, ifNoneMatch: string): Condition | null {
  if (ifMatch === '' && ifNoneMatch === '') return null;
  if (ifMatch !== '' && ifNoneMatch !== '') {
    throw new CairnError('invalid_request', 'expected If-Match or If-None-Match, found both');
  }
  if (ifNoneMatch !== '') {
    if (ifNoneMatch.trim() === '*') return { absent: true };
    throw new CairnError('invalid_request', `If-None-Match: expected * on a write, found ${ifNoneMatch}`);
  }
  if (ifMatch.trim() === '*') return { exists: true };
  const revisions: Revision[] = [];
  for (const tag of entityTags(ifMatch, 'If-Match')) {
    const revision = tag.isWeak ? null : tagRevision(tag.opaque);
    if (revision !== null) revisions.push(revision);
  }
  return { revisions };
}

/** Whether `If-None-Match` of a read names this revision, so that the answer is 304. Compares weakly, as a read does. */
export function namesRevision(ifNoneMatch: string, revision: Revision): boolean {
  if (ifNoneMatch.trim() === '*') return true;
  for (const tag of entityTags(ifNoneMatch, 'If-None-Match')) if (tagRevision(tag.opaque) === revision) return true;
  return false;
}

function entityTags(header: string, name: string): { isWeak: boolean; opaque: string }[] {
  const tags: { isWeak: boolean; opaque: string }[] = [];
  ENTITY_TAG.lastIndex = 0;
  while (ENTITY_TAG.lastIndex < header.length) {
    const match = ENTITY_TAG.exec(header);
    if (match === null) {
      throw new CairnError(
        'invalid_request',
        `${name}: expected * or a list of revisions in double quotes, found ${header}`,
      );
    }
    tags.push({ isWeak: match[1] !== undefined, opaque: match[2]! });
  }
  return tags;
}

function tagRevision(opaque: string): Revision | null {
  if (!/^(?:0|[1-9]\d{0,15})$/.test(opaque)) return null;
  const revision = Number(opaque);
  return Number.isSafeInteger(revision) ? revision : null;
}

import type { StoredVersion } from '../service.js';
import { writeAnswer, type AnswerTarget } from './answer.js';
import { namesRevision } from './conditions.js';

/** A version as `FoundVersion` gives it: a range of bytes that may be shared memory. */
export interface VersionRange {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly length: number;
  readonly revision: number;
  readonly expiresAtMs: number;
  readonly contentType: string;
}

export function asRange(version: StoredVersion): VersionRange {
  const { value, revision, expiresAtMs, contentType } = version;
  return { bytes: value, start: 0, length: value.length, revision, expiresAtMs, contentType };
}

export function isoTime(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}

/**
 * The answer to a GET or HEAD that found something: the stored bytes go out as they are, never parsed. `keyJson` is the key as
 * JSON text, `staleness` a header or ''. Must run inside the route handler or a cork.
 */
export function writeVersion(
  target: AnswerTarget,
  partition: number,
  keyJson: string,
  version: VersionRange,
  ifNoneMatch: string,
  staleness: string,
): void {
  const { context } = target;
  const revision = version.revision;
  if (ifNoneMatch !== '' && namesRevision(ifNoneMatch, revision)) {
    writeAnswer(target, 304, `${context.jsonHead(partition)}${revision}"${staleness}`, '', false);
    return;
  }
  const writer = context.writer;
  writer.reset();
  if (version.contentType !== '') {
    const expiry = version.expiresAtMs === 0 ? '' : `\r\nX-Cairn-Expires-At: ${isoTime(version.expiresAtMs)}`;
    writer.bytes(version.bytes, version.start, version.length);
    writeAnswer(
      target,
      200,
      `${version.contentType}${context.dataHeaders(partition)}\r\nX-Content-Type-Options: nosniff${expiry}${staleness}\r\nETag: "${revision}"`,
      writer.view(),
      false,
    );
    return;
  }
  writer.ascii('{"key":');
  writer.utf8(keyJson);
  writer.ascii(',"value":');
  writer.bytes(version.bytes, version.start, version.length);
  writer.ascii(',"revision":');
  writer.integer(revision);
  if (version.expiresAtMs !== 0) writer.ascii(`,"expiresAt":"${isoTime(version.expiresAtMs)}"`);
  writer.ascii('}');
  writeAnswer(target, 200, `${context.jsonHead(partition)}${revision}"${staleness}`, writer.view(), false);
}

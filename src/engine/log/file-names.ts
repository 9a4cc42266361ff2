/**
 * Names in the log's directory. A segment's number stands in its name and in the checksum of each of its records.
 * A spare is a whole file of zeros or of released records; it becomes a segment by a rename. A file that is still being
 * filled is `.new` and is removed at the next start. The reserve is a small spare that only recovery on a full disk uses.
 */
export type LogFileKind = 'segment' | 'spare' | 'reserve' | 'unfinished';

export interface LogFileName {
  readonly kind: LogFileKind;
  readonly number: number;
}

const DIGITS = 6;
const PATTERN = /^(\d{6,15})\.(log|spare|reserve|new)$/;
const KINDS: Readonly<Record<string, LogFileKind>> = {
  log: 'segment',
  spare: 'spare',
  reserve: 'reserve',
  new: 'unfinished',
};

function path(directory: string, number: number, extension: string): string {
  return `${directory}/${String(number).padStart(DIGITS, '0')}.${extension}`;
}

export function segmentPath(directory: string, segment: number): string {
  return path(directory, segment, 'log');
}
export function sparePath(directory: string, number: number): string {
  return path(directory, number, 'spare');
}
export function reservePath(directory: string, number: number): string {
  return path(directory, number, 'reserve');
}
export function unfinishedPath(directory: string, number: number): string {
  return path(directory, number, 'new');
}

/** Null for a name that the log did not give. */
export function parseLogFileName(name: string): LogFileName | null {
  const match = PATTERN.exec(name);
  if (match === null) return null;
  return { number: Number(match[1]), kind: KINDS[match[2]!]! };
}

import { styleText } from 'node:util';
import type { RawEntry } from '../client/index.js';

export const OUTPUT_FORMATS = ['json', 'table', 'raw'] as const;
export type OutputFormat = (typeof OUTPUT_FORMATS)[number];

/** Data goes to stdout, what is said to people goes to stderr. */
export interface Terminal {
  readonly stdout: NodeJS.WritableStream & { readonly isTTY?: boolean };
  readonly stderr: NodeJS.WritableStream & { readonly isTTY?: boolean };
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean };
  readonly environment: Readonly<Record<string, string | undefined>>;
}

export function say(terminal: Terminal, message: string): void {
  terminal.stderr.write(`${message}\n`);
}

export function usesColour(terminal: Terminal): boolean {
  return terminal.stderr.isTTY === true && !terminal.environment['NO_COLOR'];
}

export function colour(terminal: Terminal, style: 'red' | 'green' | 'yellow', text: string): string {
  return usesColour(terminal) ? styleText(style, text) : text;
}

/** Keeps to the pace of the reader, so that a long range does not pile up in memory. */
export async function write(terminal: Terminal, data: string | Uint8Array): Promise<void> {
  if (terminal.stdout.write(data)) return;
  await new Promise<void>((resolve) => terminal.stdout.once('drain', resolve));
}

/** A JSON object from members that are JSON text already, so that every digit of a stored value stays. */
export function jsonObject(members: Readonly<Record<string, string | undefined>>): string {
  const parts = Object.entries(members).flatMap(([name, text]) =>
    text === undefined ? [] : `${JSON.stringify(name)}:${text}`,
  );
  return `{${parts.join(',')}}`;
}

export function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8');
}

/** The members of the HTTP API: `key`, or `keyBase64` when it is not UTF-8. */
export function keyMembers(key: Uint8Array): Record<string, string> {
  const text = textOf(key);
  if (Buffer.from(text, 'utf8').equals(key)) return { key: JSON.stringify(text) };
  return { keyBase64: JSON.stringify(Buffer.from(key).toString('base64')) };
}

export function valueMembers(entry: RawEntry): Record<string, string> {
  if (entry.contentType === 'application/json') return { value: textOf(entry.bytes) };
  return {
    valueBase64: JSON.stringify(Buffer.from(entry.bytes).toString('base64')),
    contentType: JSON.stringify(entry.contentType),
  };
}

export function entryMembers(entry: RawEntry): Record<string, string | undefined> {
  return {
    ...valueMembers(entry),
    revision: String(entry.revision),
    expiresAt: entry.expiresAt === undefined ? undefined : JSON.stringify(entry.expiresAt.toISOString()),
  };
}

const LONGEST_CELL = 80;

function cell(text: string): string {
  // Control characters of a stored value must not reach the terminal.
  const clean = text.replaceAll(/\p{Cc}/gu, '\u00b7');
  return clean.length > LONGEST_CELL ? `${clean.slice(0, LONGEST_CELL - 1)}\u2026` : clean;
}

/** Left-aligned columns with a header; numbers come as text. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [header, ...rows.map((row) => row.map(cell))];
  const widths = header.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return (
    lines
      .map((line) =>
        line
          .map((text, i) => text.padEnd(widths[i]!))
          .join('  ')
          .trimEnd(),
      )
      .join('\n') + '\n'
  );
}

export function valueCell(entry: RawEntry): string {
  return entry.contentType === 'application/json'
    ? textOf(entry.bytes)
    : `${entry.bytes.length} bytes of ${entry.contentType}`;
}

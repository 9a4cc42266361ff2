import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { UsageError } from './exit-code.js';
import type { Terminal } from './output.js';

/** A file, or stdin for `-`. */
function open(name: string, terminal: Terminal): NodeJS.ReadableStream {
  return name === '-' ? terminal.stdin : createReadStream(name);
}

export async function readAll(name: string, terminal: Terminal): Promise<Buffer> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of open(name, terminal)) chunks.push(Buffer.from(chunk));
  } catch (error) {
    throw new UsageError(`can't read ${name}: ${(error as Error).message}`);
  }
  return Buffer.concat(chunks);
}

/** Lines that are not empty, with their numbers. */
export async function* readLines(name: string, terminal: Terminal): AsyncGenerator<[number, string]> {
  const input = open(name, terminal);
  let failure: Error | null = null;
  // readline does not pass the errors of its input on.
  input.on('error', (error: Error) => {
    failure = error;
    lines.close();
  });
  const lines = createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY });
  let number = 0;
  for await (const line of lines) {
    number++;
    if (line.trim() !== '') yield [number, line];
  }
  if (failure !== null) throw new UsageError(`can't read ${name}: ${(failure as Error).message}`);
}

import { Option, type Command } from 'commander';
import { CairnError } from '../base/errors.js';
import type { BatchOperation, CairnClient } from '../client/index.js';
import { JsonScanner } from '../codec/json-scan.js';
import { addConnectionOptions, withClient, type ConnectionOptions } from './connection-options.js';
import { UsageError } from './exit-code.js';
import { readLines } from './input.js';
import { wholeNumber } from './numbers.js';
import { say, write, type Terminal } from './output.js';
import { startProgress } from './progress.js';

type Options = ConnectionOptions & { readonly batchSize: number; readonly parallel: number };

interface Line {
  readonly number: number;
  readonly operation: BatchOperation;
}

export function addBatchCommand(program: Command, terminal: Terminal): void {
  const batch = program
    .command('batch [file]')
    .description('put and delete many keys: one JSON object a line, from a file or standard input')
    .addOption(new Option('--batch-size <count>', 'operations in one request').default(500).argParser(wholeNumber(1)))
    .addOption(new Option('--parallel <count>', 'requests under way').default(8).argParser(wholeNumber(1)))
    .addHelpText(
      'after',
      `
Each line is {"key": ..., "value": ...}, with "ttl" in seconds if it shall expire, or {"delete": key}. The output of
\`cairn range\` is such input. Requests run side by side: the order of lines on one key is kept only within one request.

Examples:
  cairn range user: | cairn batch --endpoints other:9090
  printf '%s\\n' '{"key":"a","value":1}' '{"delete":"b"}' | cairn batch`,
    )
    .action((file: string | undefined, options: Options) => runBatch(terminal, file ?? '-', options));
  addConnectionOptions(batch);
}

async function runBatch(terminal: Terminal, file: string, options: Options): Promise<void> {
  const progress = startProgress(terminal, 'batch', 0);
  let written = 0;
  let failed = 0;
  const send = async (client: CairnClient, lines: readonly Line[]): Promise<void> => {
    const results = await client.batch(lines.map(({ operation }) => operation));
    for (const [i, result] of results.entries()) {
      if (result.error === undefined) {
        written++;
        continue;
      }
      failed++;
      say(terminal, `line ${lines[i]!.number}: ${result.error.code}: ${result.error.message}`);
    }
    progress.update(written);
  };
  try {
    await withClient(options, async (client) => {
      const running = new Set<Promise<void>>();
      const start = async (lines: readonly Line[]): Promise<void> => {
        const request: Promise<void> = send(client, lines).finally(() => running.delete(request));
        // Its error is seen by the race or by the last wait; until then it must not count as unhandled.
        request.catch(() => undefined);
        running.add(request);
        if (running.size >= options.parallel) await Promise.race(running);
      };
      let lines: Line[] = [];
      for await (const [number, text] of readLines(file, terminal)) {
        lines.push({ number, operation: parseLine(number, text) });
        if (lines.length < options.batchSize) continue;
        await start(lines);
        lines = [];
      }
      if (lines.length > 0) await start(lines);
      await Promise.all(running);
    });
  } finally {
    progress.stop();
    await write(terminal, `${JSON.stringify({ written, failed })}\n`);
  }
  if (failed > 0) throw new Error(`${failed} of ${written + failed} operations failed`);
}

const scanner = new JsonScanner();

/** Takes the value as the text that it is, so that every digit stays. */
export function parseLine(number: number, text: string): BatchOperation {
  const bytes = Buffer.from(text, 'utf8');
  const members = new Map<string, string>();
  try {
    scanner.reset(bytes, 0, bytes.length);
    scanner.enterObject();
    while (scanner.nextMember()) {
      const name = scanner.name();
      scanner.value();
      members.set(name, bytes.toString('utf8', scanner.valueStart, scanner.valueEnd));
    }
    scanner.finish();
  } catch (error) {
    if (error instanceof CairnError) throw new UsageError(`line ${number}: ${error.message}`);
    throw error;
  }
  return operationOf(number, members);
}

function operationOf(number: number, members: ReadonlyMap<string, string>): BatchOperation {
  const text = (name: string): string | undefined => {
    const json = members.get(name);
    if (json === undefined) return undefined;
    const value: unknown = JSON.parse(json);
    if (typeof value !== 'string')
      throw new UsageError(`line ${number}: expected "${name}" to be a string, found ${json}`);
    return value;
  };
  const keyOf = (name: string): string | Uint8Array | undefined => {
    const base64 = text(`${name}Base64`);
    return base64 === undefined ? text(name) : Buffer.from(base64, 'base64');
  };
  const deleted = keyOf('delete');
  if (deleted !== undefined) return { delete: deleted };
  const put = keyOf('key');
  const value = members.get('value');
  const base64 = text('valueBase64');
  if (put === undefined || (value === undefined) === (base64 === undefined)) {
    throw new UsageError(
      `line ${number}: expected {"key": ..., "value": ...} or {"delete": ...}, found ${[...members.keys()].join(', ')}`,
    );
  }
  const ttl = members.get('ttl');
  if (ttl !== undefined && !/^\d+$/.test(ttl))
    throw new UsageError(`line ${number}: expected "ttl" in whole seconds, found ${ttl}`);
  const bytes = value === undefined ? Buffer.from(base64!, 'base64') : Buffer.from(value, 'utf8');
  const contentType = value === undefined ? (text('contentType') ?? 'application/octet-stream') : 'application/json';
  return { put, bytes, contentType, ttlSeconds: Number(ttl ?? 0) };
}

import { Option, type Command } from 'commander';
import { jsonProblem } from '../codec/json-scan.js';
import type { WriteOptions } from '../client/index.js';
import {
  addConnectionOptions,
  addOutputOption,
  withClient,
  type ConnectionOptions,
  type OutputOptions,
} from './connection-options.js';
import { NotFoundError, UsageError } from './exit-code.js';
import { readAll } from './input.js';
import { wholeNumber } from './numbers.js';
import { entryMembers, jsonObject, table, valueCell, write, type Terminal } from './output.js';

type GetOptions = ConnectionOptions & OutputOptions & { readonly at?: number };
type ConditionOptions = ConnectionOptions &
  OutputOptions & { readonly ifRevision?: number; readonly ifExists?: true; readonly ifAbsent?: true };
type PutOptions = ConditionOptions & {
  readonly string?: true;
  readonly file?: string;
  readonly contentType?: string;
  readonly ttl?: number;
};

export function addKeyCommands(program: Command, terminal: Terminal): void {
  const get = program
    .command('get <key>')
    .description('print the value under a key; exit code 3 when there is none')
    .addOption(new Option('--at <revision>', 'as it was at this revision').argParser(wholeNumber(1)))
    .addHelpText(
      'after',
      `
Examples:
  cairn get user:123                 {"key":"user:123","value":{"name":"John"},"revision":96839417856000}
  cairn get user:123 -o raw          {"name":"John"}
  cairn get logo.png -o raw > logo.png`,
    )
    .action((key: string, options: GetOptions) => runGet(terminal, key, options));
  addOutputOption(addConnectionOptions(get));

  const put = program
    .command('put <key> [value]')
    .description('store a value: JSON text, a file, or standard input when no value is given')
    .option('--string', 'the value is a text, not JSON: store it as a JSON string')
    .option('--file <path>', 'take the value from a file; - is standard input')
    .option('--content-type <type>', 'store the bytes as they are, with this content type')
    .addOption(new Option('--ttl <seconds>', 'let the key expire').argParser(wholeNumber(1)));
  addConditions(put)
    .addHelpText(
      'after',
      `
Examples:
  cairn put user:123 '{"name":"John","age":30}'
  cairn put greeting --string 'Hello, world'
  cairn put logo.png --file logo.png --content-type image/png
  cairn put session:9 '{}' --ttl 3600
  cairn put user:123 '{"name":"Jo"}' --if-revision 96839417856000    exit code 4 when it has changed`,
    )
    .action((key: string, value: string | undefined, options: PutOptions) => runPut(terminal, key, value, options));
  addOutputOption(addConnectionOptions(put));

  const del = program.command('del <key>').description('delete a key; it is no error when there is none');
  addConditions(del)
    .addHelpText(
      'after',
      `
Examples:
  cairn del user:123                 {"key":"user:123","deleted":true,"revision":96839417856064}
  cairn del user:123 --if-exists     exit code 4 when there is none`,
    )
    .action((key: string, options: ConditionOptions) => runDelete(terminal, key, options));
  addOutputOption(addConnectionOptions(del));
}

function addConditions(command: Command): Command {
  return command
    .addOption(new Option('--if-revision <revision>', 'only when the key has this revision').argParser(wholeNumber(1)))
    .option('--if-exists', 'only when the key exists')
    .option('--if-absent', 'only when the key does not exist');
}

function conditions(options: ConditionOptions): WriteOptions {
  return {
    ...(options.ifRevision === undefined ? {} : { ifRevision: options.ifRevision }),
    ...(options.ifExists ? { ifExists: true } : {}),
    ...(options.ifAbsent ? { ifAbsent: true } : {}),
  };
}

async function runGet(terminal: Terminal, key: string, options: GetOptions): Promise<void> {
  const entry = await withClient(options, (client) =>
    client.getRaw(key, options.at === undefined ? {} : { at: options.at }),
  );
  if (entry === null) throw new NotFoundError(`key_not_found: there is nothing under "${key}"`);
  if (options.output === 'raw') {
    await write(terminal, entry.bytes);
    // A value of JSON is text: it ends with a line break, as text on a terminal does.
    if (entry.contentType === 'application/json') await write(terminal, '\n');
  } else if (options.output === 'table') {
    const expires = entry.expiresAt?.toISOString() ?? '';
    await write(
      terminal,
      table(['KEY', 'REVISION', 'EXPIRES', 'VALUE'], [[key, String(entry.revision), expires, valueCell(entry)]]),
    );
  } else await write(terminal, `${jsonObject({ key: JSON.stringify(key), ...entryMembers(entry) })}\n`);
}

async function runPut(terminal: Terminal, key: string, value: string | undefined, options: PutOptions): Promise<void> {
  if (value !== undefined && options.file !== undefined) throw new UsageError('expected a value or --file, found both');
  if (options.string && options.contentType !== undefined)
    throw new UsageError('expected --string or --content-type, found both');
  if (value === undefined && options.file === undefined && terminal.stdin.isTTY) {
    throw new UsageError('expected a value, --file, or something on standard input; see `cairn put --help`');
  }
  const given = value === undefined ? await readAll(options.file ?? '-', terminal) : Buffer.from(value, 'utf8');
  const bytes = options.string ? Buffer.from(JSON.stringify(given.toString('utf8')), 'utf8') : given;
  const contentType = options.contentType ?? 'application/json';
  const problem = contentType === 'application/json' ? jsonProblem(bytes, 0, bytes.length) : null;
  if (problem !== null) {
    throw new UsageError(
      `the value is not JSON: ${problem.message}. Use --string for a text, --content-type for other bytes`,
    );
  }
  const { revision } = await withClient(options, (client) =>
    client.putRaw(key, bytes, {
      contentType,
      ...(options.ttl === undefined ? {} : { ttlSeconds: options.ttl }),
      ...conditions(options),
    }),
  );
  if (options.output === 'raw') await write(terminal, `${revision}\n`);
  else if (options.output === 'table') await write(terminal, table(['KEY', 'REVISION'], [[key, String(revision)]]));
  else await write(terminal, `${JSON.stringify({ key, revision })}\n`);
}

async function runDelete(terminal: Terminal, key: string, options: ConditionOptions): Promise<void> {
  const { deleted, revision } = await withClient(options, (client) => client.delete(key, conditions(options)));
  if (options.output === 'raw') await write(terminal, `${deleted}\n`);
  else if (options.output === 'table')
    await write(terminal, table(['KEY', 'DELETED', 'REVISION'], [[key, String(deleted), String(revision)]]));
  else await write(terminal, `${JSON.stringify({ key, deleted, revision })}\n`);
}

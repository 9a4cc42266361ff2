import { Option, type Command } from 'commander';
import type { RangeOptions, RawRangeItem } from '../client/index.js';
import {
  addConnectionOptions,
  addOutputOption,
  withClient,
  type ConnectionOptions,
  type OutputOptions,
} from './connection-options.js';
import { wholeNumber } from './numbers.js';
import { entryMembers, jsonObject, keyMembers, table, textOf, valueCell, write, type Terminal } from './output.js';

type Options = ConnectionOptions &
  OutputOptions & {
    readonly startKey?: string;
    readonly endKey?: string;
    readonly limit?: number;
    readonly at?: number;
    readonly reverse?: true;
    readonly keysOnly?: true;
  };

/** Rows of a table are aligned in groups of this many, so that a long range is printed as it comes. */
const TABLE_ROWS = 1000;
const WRITE_CHARS = 64 << 10;

export function addRangeCommand(program: Command, terminal: Terminal): void {
  const range = program
    .command('range [prefix]')
    .description('print the keys of a range in the order of their bytes, all at one instant')
    .option('--start-key <key>', 'from this key on')
    .option('--end-key <key>', 'up to this key, which is left out')
    .addOption(new Option('--limit <count>', 'at most so many').argParser(wholeNumber(1)))
    .addOption(new Option('--at <revision>', 'as it was at this revision').argParser(wholeNumber(1)))
    .option('--reverse', 'from the end')
    .option('--keys-only', 'without values')
    .addHelpText(
      'after',
      `
One JSON object a line; -o raw prints the values alone (or, with --keys-only, the keys), one a line.

Examples:
  cairn range user:                              every key that begins with user:
  cairn range --start-key user:1 --end-key user:100
  cairn range user: --keys-only -o raw | wc -l
  cairn range log: --reverse --limit 10 -o table`,
    )
    .action((prefix: string | undefined, options: Options) => runRange(terminal, prefix, options));
  addOutputOption(addConnectionOptions(range));
}

async function runRange(terminal: Terminal, prefix: string | undefined, options: Options): Promise<void> {
  const { startKey, endKey, limit, at, reverse, keysOnly, output } = options;
  const range: RangeOptions = {
    ...(prefix === undefined ? {} : { prefix }),
    ...(startKey === undefined ? {} : { startKey }),
    ...(endKey === undefined ? {} : { endKey }),
    ...(limit === undefined ? {} : { limit }),
    ...(at === undefined ? {} : { at }),
    reverse: reverse ?? false,
  };
  await withClient(options, async (client) => {
    const items = keysOnly ? withoutValues(client.rangeKeys(range)) : client.rangeRaw(range);
    if (output === 'table') await printTable(terminal, items, keysOnly ?? false);
    else await printLines(terminal, items, (item) => line(item, output, keysOnly ?? false));
  });
}

async function* withoutValues(
  keys: AsyncIterable<{ readonly keyBytes: Uint8Array; readonly revision: number }>,
): AsyncGenerator<RawRangeItem> {
  for await (const key of keys) yield { ...key, bytes: new Uint8Array(0), contentType: '' };
}

function line(item: RawRangeItem, output: 'json' | 'raw', keysOnly: boolean): string {
  if (output === 'raw') return textOf(keysOnly ? item.keyBytes : item.bytes);
  const members = keysOnly ? { revision: String(item.revision) } : entryMembers(item);
  return jsonObject({ ...keyMembers(item.keyBytes), ...members });
}

async function printLines(
  terminal: Terminal,
  items: AsyncIterable<RawRangeItem>,
  format: (item: RawRangeItem) => string,
): Promise<void> {
  let text = '';
  for await (const item of items) {
    text += `${format(item)}\n`;
    if (text.length < WRITE_CHARS) continue;
    await write(terminal, text);
    text = '';
  }
  if (text !== '') await write(terminal, text);
}

async function printTable(terminal: Terminal, items: AsyncIterable<RawRangeItem>, keysOnly: boolean): Promise<void> {
  const header = keysOnly ? ['KEY', 'REVISION'] : ['KEY', 'REVISION', 'VALUE'];
  let rows: string[][] = [];
  for await (const item of items) {
    const row = [textOf(item.keyBytes), String(item.revision)];
    rows.push(keysOnly ? row : [...row, valueCell(item)]);
    if (rows.length < TABLE_ROWS) continue;
    await write(terminal, table(header, rows));
    rows = [];
  }
  if (rows.length > 0) await write(terminal, table(header, rows));
}

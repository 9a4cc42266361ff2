import assert from 'node:assert/strict';
import {
  closeSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { Agent } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Prng } from '../../src/base/prng.js';
import { parseFooter } from '../../src/lsm/table/footer.js';
import { FOOTER_BYTES } from '../../src/lsm/table/format.js';
import { inParallel, put, SMALL, valueOf } from './data-directory.js';
import { call, member } from './http-call.js';
import { FailedStartError, startServer, type ServerProcess } from './server-process.js';

/** Random single flips and cuts over all files, beside the chosen ones; many for the long run. */
const RANDOM_DAMAGES = Number(process.env['CAIRN_TEST_SEEDS'] ?? 4);
const TABLE_KEYS = 300;
const LOG_KEYS = 20;
/** Sectors of the log: each record begins at a multiple. */
const SECTOR_BYTES = 512;

let root = '';
/** After kill -9, and after a clean stop. */
let killed = '';
let stopped = '';
/** What every key must hold: the last acknowledged value. */
const expected = new Map<string, string>();
const lastKey = `log:3:${LOG_KEYS - 1}`;
const agent = new Agent({ keepAlive: true, maxSockets: 8 });

before(async () => {
  root = mkdtempSync(join(tmpdir(), 'cairn-corruption-'));
  killed = join(root, 'killed');
  stopped = join(root, 'stopped');
  for (const life of [1, 2, 3]) {
    const server = await startServer(killed, SMALL);
    if (life === 1) await makeTables(server);
    // One after the other, so that each has a record of its own.
    for (let i = 0; i < LOG_KEYS; i++) await remember(server, `log:${life}:${i}`, 1, 200);
    await server.stop('SIGKILL');
  }
  copyDirectory(killed, stopped);
  const server = await startServer(stopped, SMALL);
  assert.equal(await server.stop('SIGTERM'), 0);
});

after(() => {
  agent.destroy();
  rmSync(root, { recursive: true, force: true });
});

/** One table of all keys in two versions, and one of level 0 above it. */
async function makeTables(server: ServerProcess): Promise<void> {
  for (const version of [1, 2]) await inParallel(TABLE_KEYS, 8, (i) => remember(server, `table:${i}`, version, 2000));
  assert.equal((await call(agent, server.managementPort, 'POST', '/api/v1/compact')).status, 200);
  await inParallel(TABLE_KEYS / 3, 8, (i) => remember(server, `table:${i * 3}`, 3, 2000));
}

async function remember(server: ServerProcess, key: string, version: number, bytes: number): Promise<void> {
  await put(agent, server.httpPort, key, valueOf(key, version, bytes));
  expected.set(key, valueOf(key, version, bytes));
}

/** Without spares: nothing is lost with them, and copying zeros takes long. */
function copyDirectory(from: string, to: string): void {
  cpSync(from, to, { recursive: true, filter: (path) => !/\.(spare|reserve|new)$/.test(path) });
}

interface Damage {
  readonly name: string;
  readonly base?: 'killed' | 'stopped';
  /** Damages the directory; returns what names the file in errors. */
  readonly apply: (directory: string) => RegExp;
  readonly outcome: 'refused' | 'all there' | 'some reads fail' | 'last write may be gone' | 'no wrong answer';
}

function flip(path: string, offset: number): void {
  const bytes = readFileSync(path);
  const at = offset < 0 ? bytes.length + offset : offset;
  assert.ok(at >= 0 && at < bytes.length, `${path} has no byte ${offset}`);
  const descriptor = openSync(path, 'r+');
  writeSync(descriptor, Uint8Array.of(bytes[at]! ^ 0x10), 0, 1, at);
  closeSync(descriptor);
}

function cut(path: string, bytes: number): void {
  truncateSync(path, readFileSync(path).length - bytes);
}

const named = (path: string): RegExp => new RegExp(path.slice(path.lastIndexOf('/') + 1).replaceAll('.', '\\.'));

function onFile(directory: string, folder: string, pattern: RegExp, change: (path: string) => void): RegExp {
  const name = readdirSync(join(directory, folder))
    .sort()
    .find((found) => pattern.test(found));
  assert.ok(name !== undefined, `${folder} holds a file ${pattern}`);
  change(join(directory, folder, name));
  const table = /^0*(\d+)\.sst$/.exec(name);
  return table === null ? named(name) : new RegExp(`${name.replace('.', '\\.')}|table ${table[1]}\\b`);
}

/** The table that holds most. */
function onTable(directory: string, change: (path: string, bytes: Buffer) => void): RegExp {
  const folder = join(directory, 'tables');
  const sizes = readdirSync(folder).map((name) => ({ name, size: readFileSync(join(folder, name)).length }));
  const largest = sizes.sort((a, b) => b.size - a.size)[0]!.name;
  return onFile(directory, 'tables', new RegExp(`^${largest}$`), (path) => change(path, readFileSync(path)));
}

function segments(directory: string): string[] {
  const folder = join(directory, 'log');
  return readdirSync(folder)
    .filter((name) => name.endsWith('.log'))
    .sort()
    .map((name) => join(folder, name));
}

/** Where the records of a segment begin. */
function recordOffsets(path: string): number[] {
  const bytes = readFileSync(path);
  const offsets: number[] = [];
  for (let at = 0; at + SECTOR_BYTES <= bytes.length; at += SECTOR_BYTES) {
    if (bytes.toString('latin1', at + 4, at + 8) === 'CLOG') offsets.push(at);
  }
  return offsets;
}

const footerOf = (path: string, bytes: Buffer): ReturnType<typeof parseFooter> =>
  parseFooter(Number(/(\d+)\.sst$/.exec(path)![1]), bytes.length, bytes.subarray(bytes.length - FOOTER_BYTES));

const damages: Damage[] = [
  {
    name: 'identity.json, a flipped byte',
    outcome: 'refused',
    apply: (d) => onFile(d, '', /^identity/, (p) => flip(p, 20)),
  },
  { name: 'identity.json, a cut tail', outcome: 'refused', apply: (d) => onFile(d, '', /^identity/, (p) => cut(p, 3)) },
  {
    name: 'identity.json, empty',
    outcome: 'refused',
    apply: (d) => onFile(d, '', /^identity/, (p) => truncateSync(p, 0)),
  },
  { name: 'CURRENT, a flipped byte', outcome: 'refused', apply: (d) => onFile(d, '', /^CURRENT$/, (p) => flip(p, 14)) },
  { name: 'CURRENT, a cut tail', outcome: 'refused', apply: (d) => onFile(d, '', /^CURRENT$/, (p) => cut(p, 5)) },
  {
    name: 'manifest, commit slot 0',
    outcome: 'all there',
    apply: (d) => onFile(d, '', /^MANIFEST/, (p) => flip(p, 30)),
  },
  {
    name: 'manifest, commit slot 1',
    outcome: 'all there',
    apply: (d) => onFile(d, '', /^MANIFEST/, (p) => flip(p, 4096 + 30)),
  },
  {
    name: 'manifest, its first record',
    outcome: 'refused',
    apply: (d) => onFile(d, '', /^MANIFEST/, (p) => flip(p, 8192 + 12)),
  },
  {
    name: 'manifest, cut in half',
    outcome: 'refused',
    apply: (d) => onFile(d, '', /^MANIFEST/, (p) => cut(p, readFileSync(p).length >> 1)),
  },
  { name: 'table, first data block', outcome: 'some reads fail', apply: (d) => onTable(d, (p) => flip(p, 100)) },
  {
    name: 'table, a data block in the middle',
    outcome: 'some reads fail',
    apply: (d) => onTable(d, (p, b) => flip(p, footerOf(p, b).filter.offset >> 1)),
  },
  {
    name: 'table, filter',
    outcome: 'all there',
    apply: (d) => onTable(d, (p, b) => flip(p, footerOf(p, b).filter.offset + 9)),
  },
  {
    name: 'table, index',
    outcome: 'refused',
    apply: (d) => onTable(d, (p, b) => flip(p, footerOf(p, b).index.offset + 9)),
  },
  {
    name: 'table, properties',
    outcome: 'refused',
    apply: (d) => onTable(d, (p, b) => flip(p, footerOf(p, b).properties.offset + 3)),
  },
  { name: 'table, footer', outcome: 'refused', apply: (d) => onTable(d, (p) => flip(p, -40)) },
  { name: 'table, a cut tail', outcome: 'refused', apply: (d) => onTable(d, (p) => cut(p, 1)) },
  {
    name: 'log, header of the last segment',
    outcome: 'refused',
    apply: (d) => onLog(d, -1, (path) => flip(path, 60)),
  },
  {
    name: 'log, a record of an older segment',
    outcome: 'refused',
    apply: (d) => onLog(d, -2, (path) => flip(path, recordOffsets(path).at(2)! + 60)),
  },
  {
    name: 'log, the tail of an older segment',
    outcome: 'refused',
    apply: (d) => onLog(d, -2, (path) => cut(path, 1024)),
  },
  {
    name: 'log, a record below the durable point',
    outcome: 'refused',
    apply: (d) => onLog(d, -1, (path) => flip(path, recordOffsets(path).at(-3)! + 60)),
  },
  {
    name: 'log, a torn record behind the last one',
    outcome: 'all there',
    apply: (d) =>
      onLog(d, -1, (path) => {
        const last = recordOffsets(path).at(-1)!;
        const record = readFileSync(path).subarray(last, last + 300);
        const descriptor = openSync(path, 'r+');
        writeSync(descriptor, record, 0, record.length, last + SECTOR_BYTES * 4);
        closeSync(descriptor);
      }),
  },
  {
    name: 'log, the last record before a kill: as if that write had been torn',
    outcome: 'last write may be gone',
    apply: (d) => onLog(d, -1, (path) => flip(path, recordOffsets(path).at(-1)! + 60)),
  },
  {
    name: 'log, cut within the last record before a kill',
    outcome: 'last write may be gone',
    apply: (d) => onLog(d, -1, (path) => truncateSync(path, recordOffsets(path).at(-1)! + 100)),
  },
  {
    name: 'log, the last record of data after a clean stop',
    base: 'stopped',
    outcome: 'refused',
    apply: (d) => onLog(d, -1, (path) => flip(path, recordOffsets(path).at(-2)! + 60)),
  },
];

function onLog(directory: string, index: number, change: (path: string) => void): RegExp {
  const path = segments(directory).at(index)!;
  change(path);
  return named(path);
}

/** One flip or cut anywhere in a file that is not empty space of the log. */
function randomDamage(seed: number): Damage {
  return {
    name: `random damage ${seed}`,
    base: 'stopped',
    outcome: 'no wrong answer',
    apply: (directory) => {
      const random = new Prng(seed);
      const names = (readdirSync(directory, { recursive: true }) as string[])
        .filter((name) => /sst|log\/|MANI|json|CURR/.test(name))
        .sort();
      const path = join(directory, names[random.below(names.length)]!);
      const size = readFileSync(path).length;
      const used = path.endsWith('.log') ? Math.min(size, (recordOffsets(path).at(-1) ?? 0) + SECTOR_BYTES) : size;
      if (random.below(3) === 0) truncateSync(path, random.below(used));
      else flip(path, random.below(used));
      return new RegExp(`${named(path).source}|table \\d+|log`);
    },
  };
}

for (let seed = 1; seed <= RANDOM_DAMAGES; seed++) damages.push(randomDamage(seed));

/** Reads everything; returns the keys that are answered with a corruption problem. Nothing else but the truth is accepted. */
async function readAll(
  server: ServerProcess,
  mayBeGone: readonly string[],
): Promise<{ failed: string[]; rangeIsComplete: boolean }> {
  const keys = [...expected.keys()];
  const failed: string[] = [];
  await inParallel(keys.length, 8, async (i) => {
    const key = keys[i]!;
    const answer = await call(agent, server.httpPort, 'GET', `/api/v1/kv/${key}`);
    if (answer.status === 500) {
      assert.equal(member(answer.body, 'code'), 'corruption', answer.body);
      failed.push(key);
    } else if (answer.status !== 404 || !mayBeGone.includes(key)) {
      assert.equal(answer.status, 200, `${key} is lost: ${answer.body}`);
      assert.equal(member(answer.body, 'value'), expected.get(key), `${key} holds something else`);
    }
  });
  const rangeIsComplete = await readRange(server, keys, failed, mayBeGone);
  return { failed, rangeIsComplete };
}

/**
 * A stream of everything is complete and right, or says that it is not complete. It may fail though every key can be read by
 * itself: it passes also blocks that hold only superseded versions.
 */
async function readRange(
  server: ServerProcess,
  keys: string[],
  failed: string[],
  mayBeGone: readonly string[],
): Promise<boolean> {
  const response = await fetch(`${server.url}/api/v1/kv/range?startKey=a`, {
    headers: { accept: 'application/x-ndjson' },
  });
  if (response.status === 500) {
    assert.equal(member(await response.text(), 'code'), 'corruption');
    return false;
  }
  const lines = (await response.text())
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  const last = lines.pop()!;
  for (const { key, value } of lines) assert.equal(value, expected.get(String(key)), `${String(key)} in a range`);
  if (last['done'] === true) {
    assert.deepEqual(failed, [], 'a range is called complete though keys in it can not be read');
    assert.equal(last['count'], lines.length);
    const found = new Set(lines.map(({ key }) => key));
    for (const key of keys) assert.ok(found.has(key) || mayBeGone.includes(key), `${key} is missing in a range`);
    return true;
  }
  assert.equal((last['error'] as { code: unknown }).code, 'corruption');
  return false;
}

async function check(damage: Damage, directory: string): Promise<void> {
  copyDirectory(damage.base === 'stopped' ? stopped : killed, directory);
  const where = damage.apply(directory);
  let server: ServerProcess;
  try {
    server = await startServer(directory, SMALL);
  } catch (error) {
    assert.ok(error instanceof FailedStartError);
    assert.ok(damage.outcome === 'refused' || damage.outcome === 'no wrong answer', error.message);
    assert.ok(error.code !== null && error.code > 0, error.message);
    assert.equal(error.stderr.trimEnd().split('\n').length, 1, error.stderr);
    assert.match(error.stderr, where);
    return;
  }
  try {
    assert.notEqual(damage.outcome, 'refused', 'the node started on a damaged directory');
    const mayBeGone = damage.outcome === 'last write may be gone' ? [lastKey] : [];
    const { failed, rangeIsComplete } = await readAll(server, mayBeGone);
    if (damage.outcome === 'some reads fail') {
      assert.ok(failed.length > 0 && failed.length < expected.size / 2, `${failed.length} keys fail`);
    } else if (damage.outcome !== 'no wrong answer') {
      assert.deepEqual(failed, []);
      assert.ok(rangeIsComplete, 'a range fails');
    }
    // Also a damaged node takes writes and stops cleanly.
    await put(agent, server.httpPort, 'after', 'damage');
    assert.equal(await server.stop('SIGTERM'), 0, server.errorOutput());
  } finally {
    await server.stop('SIGKILL');
  }
}

test('without damage every key is there, after kill -9 and after a clean stop', async () => {
  for (const base of ['killed', 'stopped'] as const) {
    await check({ name: base, base, outcome: 'all there', apply: () => /./ }, join(root, `copy-${base}`));
  }
});

test('promise 5: damage in any file kind is refused or answered as corruption, never served, nothing is lost silently', async (t) => {
  mkdirSync(join(root, 'damaged'));
  // Two at once: half of a start is waiting for the disk.
  await Promise.all(
    [0, 1].map(async (lane) => {
      for (let i = lane; i < damages.length; i += 2) {
        const damage = damages[i]!;
        const directory = join(root, 'damaged', String(i));
        await t.test(damage.name, () => check(damage, directory));
        rmSync(directory, { recursive: true, force: true });
      }
    }),
  );
});

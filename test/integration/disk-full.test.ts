import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { Agent } from 'node:http';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { afterwards, inParallel, SMALL, temporaryDirectory, until, valueOf } from './data-directory.js';
import { call, member, type Answer } from './http-call.js';
import { startServer, type ServerProcess } from './server-process.js';

const DISK_BYTES = 112 << 20;
const BALLAST_BYTES = 40 << 20;
const VALUE_BYTES = 20_000;
const WRITERS = 8;

/** A small file system in memory, or the reason why there is none. */
function mountSmallDisk(t: TestContext): { directory: string } | { obstacle: string } {
  if (process.platform !== 'linux') return { obstacle: 'a tmpfs is for Linux' };
  const directory = join(temporaryDirectory(t), 'disk');
  mkdirSync(directory);
  const { status, stderr, error } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'tmpfs', directory]);
  if (status !== 0) return { obstacle: `a tmpfs can't be mounted: ${(error?.message ?? stderr.toString()).trim()}` };
  afterwards(t, () => void spawnSync('umount', ['-l', directory]));
  return { directory };
}

/** A file of so many bytes, or of all that is free. */
function makeBallast(path: string, bytes = Infinity): void {
  const descriptor = openSync(path, 'a');
  const page = Buffer.alloc(4096, 'x');
  try {
    for (let written = 0; written < bytes; written += page.length) writeSync(descriptor, page);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  } finally {
    closeSync(descriptor);
  }
}

/** Writes to ever new keys, and what became of them. */
class Load {
  readonly acknowledged = new Map<string, string>();
  readonly agent = new Agent({ keepAlive: true, maxSockets: WRITERS });
  #next = 0;

  async write(server: ServerProcess): Promise<Answer> {
    const key = `key:${this.#next++}`;
    const value = valueOf(key, 1, VALUE_BYTES);
    const answer = await call(this.agent, server.httpPort, 'PUT', `/api/v1/kv/${key}`, JSON.stringify({ value }));
    if (answer.status === 200) this.acknowledged.set(key, value);
    return answer;
  }

  /** Until the disk is full; a 503 on the way is overload, which a client repeats. */
  async fill(server: ServerProcess): Promise<Answer> {
    let full: Answer | null = null;
    await inParallel(WRITERS, WRITERS, async () => {
      while (full === null) {
        const answer = await this.write(server);
        if (answer.status === 507) full = answer;
        else if (answer.status === 503) await new Promise((resolve) => setTimeout(resolve, 50));
        else assert.equal(answer.status, 200, answer.body);
      }
    });
    return full!;
  }

  async checkAll(server: ServerProcess): Promise<void> {
    const keys = [...this.acknowledged.keys()];
    await inParallel(keys.length, WRITERS, async (i) => {
      const answer = await call(this.agent, server.httpPort, 'GET', `/api/v1/kv/${keys[i]!}`);
      assert.equal(answer.status, 200, `${keys[i]} is lost: ${answer.body}`);
      assert.equal(member(answer.body, 'value'), this.acknowledged.get(keys[i]!));
    });
  }

  /**
   * Space may come back for a moment, when a compaction ends or a segment is given back: then writes are taken again and
   * the node says so. In the end it stays full.
   */
  checkHealthWhileFull(server: ServerProcess): Promise<void> {
    return until('the node says that it takes no writes, and why', async () => {
      await this.fill(server);
      assert.equal((await call(this.agent, server.managementPort, 'GET', '/livez')).status, 200);
      const ready = await call(this.agent, server.managementPort, 'GET', '/readyz?verbose');
      // It serves reads; the check of writes says why they are refused.
      assert.equal(ready.status, 200, ready.body);
      const checks = member(ready.body, 'checks') as { name: string; ok: boolean; detail: string }[];
      const writes = checks.find(({ name }) => name === 'writes')!;
      return !writes.ok && /no space left/.test(writes.detail);
    });
  }

  resumes(server: ServerProcess): Promise<void> {
    return until('writes resume', async () => (await this.write(server)).status === 200, 15_000);
  }
}

test('a full disk: writes get 507, reads go on, writes resume by themselves; kill -9 and restarts while it is full lose nothing', async (t) => {
  const disk = mountSmallDisk(t);
  if ('obstacle' in disk) {
    t.skip(disk.obstacle);
    return;
  }
  const dataDir = join(disk.directory, 'data');
  const ballast = join(disk.directory, 'ballast');
  makeBallast(ballast, BALLAST_BYTES);
  const load = new Load();
  afterwards(t, () => load.agent.destroy());
  let server = await startServer(dataDir, SMALL);
  afterwards(t, () => server.stop('SIGKILL'));

  const full = await load.fill(server);
  assert.equal(member(full.body, 'code'), 'disk_full');
  assert.ok(Number(full.headers['retry-after']) > 0, 'Retry-After');
  await load.checkHealthWhileFull(server);
  await load.checkAll(server);
  t.diagnostic(`${load.acknowledged.size} writes until the disk was full`);

  rmSync(ballast);
  await load.resumes(server);

  for (let round = 0; round < 2; round++) {
    // What a start on a full disk uses is made again when there is space.
    await until('the log has its reserve', () =>
      readdirSync(join(dataDir, 'log')).some((name) => name.endsWith('.reserve')),
    );
    makeBallast(ballast);
    await load.fill(server);
    // The first start takes the reserve, the others what the log's last segment does not need.
    for (let start = 0; start < 3; start++) {
      await server.stop('SIGKILL');
      makeBallast(ballast);
      assert.equal(statfsSync(disk.directory).bavail, 0, 'the disk is not full');
      server = await startServer(dataDir, SMALL);
      await load.checkAll(server);
      assert.equal((await call(load.agent, server.managementPort, 'GET', '/livez')).status, 200);
    }
    rmSync(ballast);
    await load.resumes(server);
  }
  makeBallast(ballast);
  await load.fill(server);
  rmSync(ballast);
  await load.resumes(server);
  assert.equal(await server.stop('SIGTERM'), 0, server.errorOutput());
  server = await startServer(dataDir, SMALL);
  await load.checkAll(server);
});

import assert from 'node:assert/strict';
import { lstatSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import type { Agent } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { call, type Answer } from './http-call.js';

/** Small files, so that a few thousand writes make tables of several levels and the disk is not filled with zeros. */
export const SMALL = ['--memtable-size-mb', '1', '--log-segment-size-mb', '18'];

const cleanups = new WeakMap<TestContext, (() => unknown)[]>();

/** Runs when the test ends, the last one first: a node is stopped before its directory is removed. */
export function afterwards(t: TestContext, cleanUp: () => unknown): void {
  const known = cleanups.get(t);
  if (known !== undefined) {
    known.push(cleanUp);
    return;
  }
  const stack = [cleanUp];
  cleanups.set(t, stack);
  t.after(async () => {
    for (let last = stack.pop(); last !== undefined; last = stack.pop()) await last();
  });
}

/** Removed when the test ends. */
export function temporaryDirectory(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'cairn-integration-'));
  afterwards(t, () => rmSync(directory, { recursive: true, force: true, maxRetries: 3 }));
  return directory;
}

/** Every name below the directory with its size and time of change: equal when nothing was touched. */
export function listing(directory: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of (readdirSync(directory, { recursive: true }) as string[]).sort()) {
    const { size, mtimeNs } = lstatSync(join(directory, name), { bigint: true });
    found[name] = `${size} bytes, changed ${mtimeNs}`;
  }
  return found;
}

/** Waits for something that the node does in the background. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, timeoutMs = 20_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await holds())) {
    assert.ok(Date.now() < deadline, `not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Calls `work` with 0 to count - 1, so many at once. */
export async function inParallel(count: number, atOnce: number, work: (i: number) => Promise<void>): Promise<void> {
  let next = 0;
  const run = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, run));
}

/** A value that can't be compressed away and that names its key and version. */
export function valueOf(key: string, version: number, bytes = 0): string {
  let state = (key.length * 31 + version) >>> 0;
  for (let i = 0; i < key.length; i++) state = (Math.imul(state, 33) + key.charCodeAt(i)) >>> 0;
  let pad = '';
  while (pad.length < bytes) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    pad += state.toString(36);
  }
  return `${key}/${version}/${pad.slice(0, bytes)}`;
}

/** A 503 is overload, which small memtables on a busy machine meet: a client repeats it. */
export async function put(agent: Agent, port: number, key: string, value: string): Promise<void> {
  const write = (): Promise<Answer> => call(agent, port, 'PUT', `/api/v1/kv/${key}`, JSON.stringify({ value }));
  let answer = await write();
  for (let tries = 0; answer.status === 503 && tries < 400; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    answer = await write();
  }
  assert.equal(answer.status, 200, `PUT ${key}: ${answer.body}`);
}

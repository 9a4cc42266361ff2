import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { CairnError } from '../../src/base/errors.js';
import { DataDirectoryLock } from '../../src/platform/data-directory-lock.js';

async function inDirectory(body: (directory: string) => Promise<void> | void): Promise<void> {
  const directory = await fs.mkdtemp(path.join(os.tmpdir(), 'cairn-lock-'));
  try {
    await body(directory);
  } finally {
    await fs.rm(directory, { recursive: true });
  }
}

test('a data directory that is held is refused with a line that names it and the holder', () =>
  inDirectory((directory) => {
    const lock = DataDirectoryLock.acquire(directory);
    assert.throws(
      () => DataDirectoryLock.acquire(directory),
      (error) =>
        error instanceof CairnError &&
        error.code === 'configuration' &&
        error.message === `data directory ${directory} is in use by process ${process.pid}`,
    );
    lock.release();
    lock.release();
    DataDirectoryLock.acquire(directory).release();
  }));

test('the lock makes the directory when it is missing', () =>
  inDirectory(async (directory) => {
    DataDirectoryLock.acquire(path.join(directory, 'a', 'b')).release();
    assert.deepEqual(await fs.readdir(path.join(directory, 'a', 'b')), ['LOCK']);
  }));

test('a directory that can not be made is a configuration error', () =>
  inDirectory(async (directory) => {
    await fs.writeFile(path.join(directory, 'file'), '');
    assert.throws(
      () => DataDirectoryLock.acquire(path.join(directory, 'file')),
      (error) => error instanceof CairnError && error.code === 'configuration',
    );
  }));

test('kill -9 of the holder frees the directory', () =>
  inDirectory(async (directory) => {
    const module = new URL('../../src/platform/data-directory-lock.js', import.meta.url).href;
    const script = `
      const { DataDirectoryLock } = await import(${JSON.stringify(module)});
      globalThis.lock = DataDirectoryLock.acquire(${JSON.stringify(directory)});
      console.log('held');
      setInterval(() => {}, 1000);`;
    const holder = spawn(process.execPath, ['--input-type=module', '--eval', script]);
    await once(holder.stdout, 'data');
    assert.throws(() => DataDirectoryLock.acquire(directory), new RegExp(`in use by process ${holder.pid}$`));
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    DataDirectoryLock.acquire(directory).release();
  }));

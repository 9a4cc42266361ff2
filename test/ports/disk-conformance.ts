import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DiskError, type Disk, type DiskFile, type OpenMode } from '../../src/ports/disk.js';
import { inWorld, type PortWorld } from './port-world.js';

/** What both flavours have in common, so that each test is written once. */
export type DiskUnderTest = Omit<Disk, 'blocking'>;

export interface DiskWorld extends PortWorld<DiskUnderTest> {
  /** An existing empty directory. */
  readonly directory: string;
}

/** The blocking flavour behind the interface of the other. */
export function asAsynchronous(disk: Disk): DiskUnderTest {
  const { blocking } = disk;
  const attempt = <T>(call: () => T): Promise<T> => new Promise((resolve) => resolve(call()));
  return {
    open: (path: string, mode: OpenMode) =>
      attempt((): DiskFile => {
        const file = blocking.open(path, mode);
        return {
          path: file.path,
          read: (target, offset) => attempt(() => file.read(target, offset)),
          write: (source, offset) => attempt(() => file.write(source, offset)),
          sync: () => attempt(() => file.sync()),
          size: () => attempt(() => file.size()),
          truncate: (sizeBytes) => attempt(() => file.truncate(sizeBytes)),
          close: () => attempt(() => file.close()),
        };
      }),
    rename: (from, to) => attempt(() => blocking.rename(from, to)),
    remove: (path) => attempt(() => blocking.remove(path)),
    list: (directory) => attempt(() => blocking.list(directory)),
    makeDirectory: (directory) => attempt(() => blocking.makeDirectory(directory)),
    syncDirectory: (directory) => attempt(() => blocking.syncDirectory(directory)),
    exists: (path) => attempt(() => blocking.exists(path)),
    freeBytes: (path) => attempt(() => blocking.freeBytes(path)),
  };
}

const HELLO = new TextEncoder().encode('hello, disk');

function hasCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof DiskError && error.code === code;
}

/** What every disk must do; `name` says which one is tried. */
export function diskConformance(name: string, make: () => DiskWorld | Promise<DiskWorld>): void {
  const check = (
    behaviour: string,
    body: (disk: DiskUnderTest, directory: string, world: DiskWorld) => Promise<void>,
  ): void => {
    void test(`${name}: ${behaviour}`, () =>
      inWorld<DiskUnderTest, DiskWorld>(make, (world) => world.settle(body(world.port, world.directory, world))));
  };

  async function put(disk: DiskUnderTest, path: string, bytes: Uint8Array): Promise<void> {
    const file = await disk.open(path, 'create');
    assert.equal(await file.write(bytes, 0), bytes.length);
    await file.close();
  }

  async function get(disk: DiskUnderTest, path: string): Promise<Uint8Array> {
    const file = await disk.open(path, 'read');
    const bytes = new Uint8Array(await file.size());
    assert.equal(await file.read(bytes, 0), bytes.length);
    await file.close();
    return bytes;
  }

  check('reads what was written', async (disk, directory) => {
    await put(disk, `${directory}/a`, HELLO);
    assert.deepEqual(await get(disk, `${directory}/a`), HELLO);
  });

  check('a read stops at the end of the file and returns 0 behind it', async (disk, directory) => {
    await put(disk, `${directory}/a`, HELLO);
    const file = await disk.open(`${directory}/a`, 'read');
    const target = new Uint8Array(100);
    assert.equal(await file.read(target, 7), 4);
    assert.deepEqual(target.subarray(0, 5), new Uint8Array([...HELLO.subarray(7), 0]));
    assert.equal(await file.read(target, 11), 0);
    assert.equal(await file.read(target, 4000), 0);
    await file.close();
  });

  check('calls with no bytes do nothing', async (disk, directory) => {
    const file = await disk.open(`${directory}/a`, 'create');
    assert.equal(await file.write(new Uint8Array(0), 0), 0);
    assert.equal(await file.read(new Uint8Array(0), 0), 0);
    assert.equal(await file.size(), 0);
    await file.close();
  });

  check('a write behind the end leaves zeros in between', async (disk, directory) => {
    const file = await disk.open(`${directory}/a`, 'create');
    await file.write(HELLO, 1500);
    assert.equal(await file.size(), 1511);
    await file.close();
    const bytes = await get(disk, `${directory}/a`);
    assert.ok(bytes.subarray(0, 1500).every((byte) => byte === 0));
    assert.deepEqual(bytes.subarray(1500), HELLO);
  });

  check('writes over sector borders change only their bytes', async (disk, directory) => {
    const expected = new Uint8Array(3000).fill(7);
    const file = await disk.open(`${directory}/a`, 'create');
    await file.write(expected, 0);
    const patch = new Uint8Array(1100).fill(9);
    await file.write(patch, 500);
    expected.set(patch, 500);
    await file.close();
    assert.deepEqual(await get(disk, `${directory}/a`), expected);
  });

  check('offsets above 4 GiB are exact', async (disk, directory) => {
    const at = 2 ** 33 + 5;
    const file = await disk.open(`${directory}/a`, 'create');
    await file.truncate(at);
    await file.write(HELLO, at);
    assert.equal(await file.size(), at + HELLO.length);
    const target = new Uint8Array(HELLO.length);
    assert.equal(await file.read(target, at), HELLO.length);
    assert.deepEqual(target, HELLO);
    await file.truncate(0);
    await file.close();
  });

  check('shared memory can be written and read into', async (disk, directory) => {
    const source = new Uint8Array(new SharedArrayBuffer(HELLO.length));
    source.set(HELLO);
    await put(disk, `${directory}/a`, source);
    const file = await disk.open(`${directory}/a`, 'read');
    const target = new Uint8Array(new SharedArrayBuffer(HELLO.length));
    assert.equal(await file.read(target, 0), HELLO.length);
    assert.deepEqual(new Uint8Array(target), HELLO);
    await file.close();
  });

  check('truncate cuts, and grows with zeros', async (disk, directory) => {
    const file = await disk.open(`${directory}/a`, 'create');
    await file.write(HELLO, 0);
    await file.truncate(5);
    assert.equal(await file.size(), 5);
    await file.truncate(8);
    await file.close();
    assert.deepEqual(await get(disk, `${directory}/a`), new Uint8Array([...HELLO.subarray(0, 5), 0, 0, 0]));
  });

  check('create refuses a name that is taken', async (disk, directory) => {
    await put(disk, `${directory}/a`, HELLO);
    await assert.rejects(disk.open(`${directory}/a`, 'create'), hasCode('EEXIST'));
    assert.deepEqual(await get(disk, `${directory}/a`), HELLO);
  });

  for (const mode of ['read', 'write', 'dsync'] as const) {
    check(`open to ${mode} needs an existing file`, async (disk, directory) => {
      await assert.rejects(disk.open(`${directory}/none`, mode), hasCode('ENOENT'));
      assert.equal(await disk.exists(`${directory}/none`), false);
    });
  }

  for (const mode of ['write', 'dsync'] as const) {
    check(`open to ${mode} keeps the content, reads and writes`, async (disk, directory) => {
      await put(disk, `${directory}/a`, HELLO);
      const file = await disk.open(`${directory}/a`, mode);
      assert.equal(await file.write(new Uint8Array([72]), 0), 1);
      const target = new Uint8Array(5);
      await file.read(target, 0);
      assert.equal(new TextDecoder().decode(target), 'Hello');
      await file.sync();
      await file.close();
    });
  }

  check('a file opened to read refuses writes', async (disk, directory) => {
    await put(disk, `${directory}/a`, HELLO);
    const file = await disk.open(`${directory}/a`, 'read');
    await assert.rejects(file.write(HELLO, 0), hasCode('EBADF'));
    await assert.rejects(file.truncate(0), hasCode('EINVAL'));
    await file.close();
  });

  check('a closed file refuses every call', async (disk, directory) => {
    const file = await disk.open(`${directory}/a`, 'create');
    await file.close();
    await assert.rejects(file.read(new Uint8Array(1), 0), hasCode('EBADF'));
    await assert.rejects(file.write(HELLO, 0), hasCode('EBADF'));
    await assert.rejects(file.sync(), hasCode('EBADF'));
    await assert.rejects(file.size(), hasCode('EBADF'));
    await assert.rejects(file.truncate(0), hasCode('EBADF'));
    await assert.rejects(file.close(), hasCode('EBADF'));
  });

  check('rename moves a file and replaces the target', async (disk, directory) => {
    await put(disk, `${directory}/a`, HELLO);
    await put(disk, `${directory}/b`, new Uint8Array([1]));
    await disk.rename(`${directory}/a`, `${directory}/b`);
    assert.equal(await disk.exists(`${directory}/a`), false);
    assert.deepEqual(await get(disk, `${directory}/b`), HELLO);
  });

  check('rename of a missing file says so', async (disk, directory) => {
    await assert.rejects(disk.rename(`${directory}/none`, `${directory}/b`), hasCode('ENOENT'));
  });

  check('a removed file is gone, but open handles still read it', async (disk, directory) => {
    await put(disk, `${directory}/a`, HELLO);
    const file = await disk.open(`${directory}/a`, 'read');
    await disk.remove(`${directory}/a`);
    assert.equal(await disk.exists(`${directory}/a`), false);
    const target = new Uint8Array(HELLO.length);
    assert.equal(await file.read(target, 0), HELLO.length);
    assert.deepEqual(target, HELLO);
    await file.close();
  });

  check('remove of a missing file says so', async (disk, directory) => {
    await assert.rejects(disk.remove(`${directory}/none`), hasCode('ENOENT'));
  });

  check('remove refuses a directory', async (disk, directory) => {
    await disk.makeDirectory(`${directory}/d`);
    await assert.rejects(disk.remove(`${directory}/d`), DiskError);
    assert.equal(await disk.exists(`${directory}/d`), true);
  });

  check('list gives files and directories sorted by bytes', async (disk, directory) => {
    // By UTF-16 units the last two would stand the other way round.
    for (const fileName of ['\u{1f600}', '\uff5e', 'b', 'B', 'a10', 'a9']) {
      await put(disk, `${directory}/${fileName}`, HELLO);
    }
    await disk.makeDirectory(`${directory}/c`);
    assert.deepEqual(await disk.list(directory), ['B', 'a10', 'a9', 'b', 'c', '\uff5e', '\u{1f600}']);
  });

  check('list of what is no directory fails', async (disk, directory) => {
    await put(disk, `${directory}/a`, HELLO);
    await assert.rejects(disk.list(`${directory}/none`), hasCode('ENOENT'));
    await assert.rejects(disk.list(`${directory}/a`), hasCode('ENOTDIR'));
  });

  check('makeDirectory makes parents and accepts what is there', async (disk, directory) => {
    await disk.makeDirectory(`${directory}/x/y/z`);
    await disk.makeDirectory(`${directory}/x/y/z`);
    assert.deepEqual(await disk.list(`${directory}/x/y`), ['z']);
    await put(disk, `${directory}/x/y/z/a`, HELLO);
    assert.equal(await disk.exists(`${directory}/x/y/z/a`), true);
  });

  check('makeDirectory refuses the name of a file', async (disk, directory) => {
    await put(disk, `${directory}/a`, HELLO);
    await assert.rejects(disk.makeDirectory(`${directory}/a`), hasCode('EEXIST'));
  });

  check('syncDirectory needs a directory', async (disk, directory) => {
    await disk.syncDirectory(directory);
    await assert.rejects(disk.syncDirectory(`${directory}/none`), hasCode('ENOENT'));
  });

  check('exists answers for files, directories and below files', async (disk, directory) => {
    await put(disk, `${directory}/a`, HELLO);
    assert.equal(await disk.exists(directory), true);
    assert.equal(await disk.exists(`${directory}/a`), true);
    assert.equal(await disk.exists(`${directory}/a/b`), false);
    assert.equal(await disk.exists(`${directory}/none/b`), false);
  });

  check('freeBytes is a whole number above 0', async (disk, directory) => {
    const free = await disk.freeBytes(directory);
    assert.ok(Number.isSafeInteger(free) && free > 0, `found ${free}`);
  });

  check('freeBytes of a missing path says so', async (disk, directory) => {
    await assert.rejects(disk.freeBytes(`${directory}/none`), hasCode('ENOENT'));
  });

  check('a file keeps the path it was opened with', async (disk, directory) => {
    const file = await disk.open(`${directory}/a`, 'create');
    assert.equal(file.path, `${directory}/a`);
    await file.close();
  });

  check('concurrent reads and writes of different places do not disturb each other', async (disk, directory) => {
    const file = await disk.open(`${directory}/a`, 'create');
    const blocks = Array.from({ length: 16 }, (_, i) => new Uint8Array(700).fill(i + 1));
    await Promise.all(blocks.map((block, i) => file.write(block, i * 700)));
    const targets = blocks.map(() => new Uint8Array(700));
    const counts = await Promise.all(targets.map((target, i) => file.read(target, i * 700)));
    assert.deepEqual(
      counts,
      blocks.map(() => 700),
    );
    assert.deepEqual(targets, blocks);
    await file.close();
  });
}

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { BlockReader } from '../../src/engine/block-reader/block-reader.js';
import { encodeBlock } from '../../src/lsm/table/block-codec.js';
import { NodeBlockReaderThread } from '../../src/platform/block-reader-thread.js';

const directory = mkdtempSync(join(tmpdir(), 'cairn-block-reader-'));
after(() => rmSync(directory, { recursive: true, force: true }));

test('a thread reads and decodes blocks, says so when one is damaged, and ends when it is told to', async () => {
  const contents = Array.from({ length: 200 }, (_, i) => new Uint8Array(5000).fill(i));
  const handles: { offset: number; sizeBytes: number }[] = [];
  const pieces: Uint8Array[] = [];
  let offset = 0;
  for (const raw of contents) {
    const stored = encodeBlock(7, offset, raw, true);
    handles.push({ offset, sizeBytes: stored.length });
    pieces.push(stored);
    offset += stored.length;
  }
  pieces.at(-1)![3]! ^= 1;
  writeFileSync(join(directory, '000007.sst'), Buffer.concat(pieces));
  const reader = new BlockReader(new NodeBlockReaderThread(), directory, setImmediate);
  for (let i = 0; i < handles.length - 1; i += 20) {
    const part = handles.slice(i, Math.min(i + 20, handles.length - 1));
    const batch = part.map((handle) => Promise.resolve(reader.read(7, handle)));
    const blocks = await Promise.all(batch);
    blocks.forEach((bytes, j) => assert.deepEqual(bytes, contents[i + j]));
  }
  assert.equal(await reader.read(7, handles.at(-1)!), null);
  assert.equal(await reader.read(8, handles[0]!), null, 'there is no such table');
  reader.forget(7);
  await reader.close();
  assert.equal(reader.read(7, handles[0]!), null);
});

// Native buffers whose memory is given back by the event loop alone would stay: this thread never turns its loop.
test('a thread gives back the memory of the blocks that it decodes', async () => {
  const raw = new Uint8Array(60_000);
  for (let i = 0; i < raw.length; i++) raw[i] = ((i * i) >> 3) & 63;
  const stored = encodeBlock(9, 0, raw, true);
  writeFileSync(join(directory, '000009.sst'), stored);
  const reader = new BlockReader(new NodeBlockReaderThread(), directory, setImmediate);
  const handle = { offset: 0, sizeBytes: stored.length };
  let decoded = 0;
  const readSome = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i += 20) {
      const batch = Array.from({ length: 20 }, () => Promise.resolve(reader.read(9, handle)));
      // Null while the thread is busy; then it is not asked.
      for (const bytes of await Promise.all(batch)) if (bytes?.length === raw.length) decoded++;
    }
  };
  while (decoded < 1000) await readSome(20);
  const before = process.memoryUsage.rss();
  while (decoded < 21_000) await readSome(20);
  const grownMb = (process.memoryUsage.rss() - before) / 1e6;
  assert.ok(grownMb < 400, `${grownMb} MB more after decoding 1200 MB`);
  await reader.close();
});

// The ceiling for durable HTTP writes: bare uWebSockets.js, the JSON parsed, one write and one fdatasync for each batch of
// waiting requests, answered after the sync. No index, no versions, no Raft. Started by the benchmark with PORT and FILE.
import fs from 'node:fs';
import type { HttpResponse } from 'uWebSockets.js';
import { listen, loadUws } from './uws.js';

interface Waiting {
  readonly res: HttpResponse;
  readonly key: string;
  aborted: boolean;
}

const FILE_SIZE_BYTES = 64 << 20;
const BATCH_SIZE_BYTES = 4 << 20;

const fd = fs.openSync(process.env.FILE ?? '', 'w');
fs.writeSync(fd, Buffer.alloc(FILE_SIZE_BYTES));
fs.fsyncSync(fd);

let batch = Buffer.allocUnsafe(BATCH_SIZE_BYTES);
let spare = Buffer.allocUnsafe(BATCH_SIZE_BYTES);
let used = 0;
let waiting: Waiting[] = [];
let busy = false;
let offset = 0;
let revision = 0;

function pump(): void {
  if (busy || waiting.length === 0) return;
  busy = true;
  const [full, length, done] = [batch, used, waiting];
  [batch, spare] = [spare, batch];
  used = 0;
  waiting = [];
  if (offset + length > FILE_SIZE_BYTES) offset = 0;
  fs.write(fd, full, 0, length, offset, (writeError) => {
    if (writeError !== null) throw writeError;
    fs.fdatasync(fd, (syncError) => {
      if (syncError !== null) throw syncError;
      offset += length;
      for (const request of done) answer(request);
      busy = false;
      pump();
    });
  });
}

function answer({ res, key, aborted }: Waiting): void {
  revision++;
  if (aborted) return;
  res.cork(() => {
    res
      .writeHeader('content-type', 'application/json')
      .writeHeader('etag', `"${revision}"`)
      .end(`{"key":"${key}","revision":${revision}}`);
  });
}

function store(request: Waiting, body: Buffer): void {
  const { value } = JSON.parse(body.toString()) as { value: unknown };
  const text = JSON.stringify(value);
  batch.writeUInt32LE(request.key.length, used);
  batch.writeUInt32LE(text.length, used + 4);
  used += 8;
  used += batch.write(request.key, used);
  used += batch.write(text, used);
  waiting.push(request);
  if (!busy) setImmediate(pump);
}

const app = loadUws().App();
app.put('/api/v1/kv/*', (res, req) => {
  const request: Waiting = { res, key: decodeURIComponent(req.getUrl().slice(11)), aborted: false };
  res.onAborted(() => {
    request.aborted = true;
  });
  let parts: Buffer | null = null;
  res.onData((chunk, last) => {
    const piece = Buffer.from(chunk);
    const body = parts === null ? piece : Buffer.concat([parts, piece]);
    if (last) store(request, body);
    else parts = Buffer.from(body);
  });
});
listen(app);

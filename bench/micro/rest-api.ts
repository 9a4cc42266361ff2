// autocannon on the REST API of one node, as a Markdown report: node dist/bench/micro/rest-api.js [seconds]
// Each call first in a closed loop with 64 connections (how much), then at half of that rate (how long). autocannon sends the
// second's share of each connection as fast as it can and then waits for the next second; its correction for coordinated
// omission takes that wait for a stall of the server (p97.5 of 430 ms at p50 0), so it is off. The row tail-latency of
// `npm run bench` measures with an open loop.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import autocannon from 'autocannon';
import { startCairn } from '../runner/cairn-node.js';
import { root, stopAll } from '../runner/child.js';
import { KEY_COUNT, preload, valueOf } from '../runner/data-set.js';

const CONNECTIONS = 64;
const DIFFERENT_REQUESTS = 1000;

type Request = Pick<autocannon.Request, 'method' | 'path' | 'body' | 'headers'>;

const seconds = Number(process.argv[2] ?? 8);
const json = { 'content-type': 'application/json' };

function keyOf(i: number): string {
  return `user:${(i * 7919) % KEY_COUNT}`;
}

const CALLS: readonly { readonly title: string; readonly request: (i: number) => Request }[] = [
  { title: 'GET a key', request: (i) => ({ method: 'GET', path: `/api/v1/kv/${keyOf(i)}` }) },
  {
    title: 'PUT a key (about 100 bytes of JSON)',
    request: (i) => ({
      method: 'PUT',
      path: `/api/v1/kv/${keyOf(i)}`,
      headers: json,
      body: JSON.stringify({ value: valueOf(i) }),
    }),
  },
  {
    title: 'POST batch of 100 puts',
    request: (i) => ({
      method: 'POST',
      path: '/api/v1/kv/batch',
      headers: json,
      body: JSON.stringify(Object.fromEntries(Array.from({ length: 100 }, (_, k) => [keyOf(i * 100 + k), valueOf(k)]))),
    }),
  },
  {
    title: 'POST batch/get of 100 keys',
    request: (i) => ({
      method: 'POST',
      path: '/api/v1/kv/batch/get',
      headers: json,
      body: JSON.stringify({ keys: Array.from({ length: 100 }, (_, k) => keyOf(i * 100 + k)) }),
    }),
  },
  {
    title: 'GET range of 100 items',
    request: (i) => ({ method: 'GET', path: `/api/v1/kv/range?startKey=${keyOf(i)}&limit=100` }),
  },
  { title: 'DELETE a key', request: (i) => ({ method: 'DELETE', path: `/api/v1/kv/${keyOf(i)}` }) },
];

async function load(url: string, request: (i: number) => Request, overallRate?: number): Promise<autocannon.Result> {
  const requests = Array.from({ length: DIFFERENT_REQUESTS }, (_, i) => request(i));
  const rate = overallRate === undefined ? {} : { overallRate, ignoreCoordinatedOmission: true };
  const result = await autocannon({ url, connections: CONNECTIONS, duration: seconds, requests, ...rate });
  if (result.non2xx > 0 || result.errors > 0)
    throw new Error(`${result.non2xx} answers that are not 2xx, ${result.errors} errors`);
  return result;
}

function rounded(value: number): string {
  return Math.round(value).toLocaleString('en');
}

const folder = path.join(process.env['CAIRN_BENCH_DIR'] ?? path.join(root, '.build/bench'), `rest-${process.pid}`);
fs.mkdirSync(folder, { recursive: true });
try {
  const node = await startCairn(folder);
  await preload(node);
  const lines = [
    `Node.js ${process.version}, ${os.availableParallelism()} cores (load generator included), ${CONNECTIONS} connections, ${seconds} s each, ${rounded(KEY_COUNT)} keys.`,
    '',
    '| call | most per second | MB/s | at half of that rate: p50 | p97.5 | p99 | p99.9 | max |',
    '| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |',
  ];
  for (const { title, request } of CALLS) {
    const most = await load(node.httpUrl, request);
    const half = await load(node.httpUrl, request, Math.floor(most.requests.average / 2));
    const { p50, p97_5, p99, p99_9, max } = half.latency;
    const latencies = [p50, p97_5, p99, p99_9, max].map((ms) => `${ms} ms`).join(' | ');
    lines.push(
      `| ${title} | ${rounded(most.requests.average)} | ${(most.throughput.average / 1e6).toFixed(1)} | ${latencies} |`,
    );
    process.stderr.write(`${lines.at(-1) ?? ''}\n`);
  }
  process.stdout.write(`${lines.join('\n')}\n`);
  await node.child.stop();
} finally {
  await stopAll();
  fs.rmSync(folder, { recursive: true, force: true });
}

import fs from 'node:fs';
import path from 'node:path';
import { Child, freePort, isInstalled, runTool } from './child.js';
import { KEY_COUNT } from './data-set.js';
import { Unavailable } from './row.js';

export interface Redis {
  readonly child: Child;
  readonly port: number;
}

/** A Redis of its own: in memory only, or with its log synced before every answer. */
export async function startRedis(folder: string, durability: 'memory' | 'synced'): Promise<Redis> {
  for (const tool of ['redis-server', 'redis-benchmark']) {
    if (!isInstalled(tool)) throw new Unavailable(`${tool} is not installed`);
  }
  const directory = path.join(folder, `redis-${durability}`);
  fs.mkdirSync(directory, { recursive: true });
  const port = await freePort();
  const child = new Child('redis', 'redis-server', [
    ...['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', directory],
    ...['--appendonly', durability === 'synced' ? 'yes' : 'no', '--appendfsync', 'always'],
  ]);
  await child.line((line) => (/Ready to accept connections/.test(line) ? true : null));
  return { child, port };
}

/** Requests per second of redis-benchmark over 100,000 keys with 100-byte values. */
export async function redisBenchmark(
  redis: Redis,
  command: 'get' | 'set',
  clients: number,
  pipeline: number,
  requests: number,
): Promise<number> {
  const output = await runTool('redis-benchmark', [
    ...['-p', String(redis.port), '-t', command, '-n', String(requests), '-c', String(clients), '-P', String(pipeline)],
    ...['-d', '100', '-r', String(KEY_COUNT), '--csv'],
  ]);
  const line = output.split('\n').find((candidate) => candidate.toLowerCase().startsWith(`"${command}"`));
  const perSecond = Number(line?.split('"')[3]);
  if (!(perSecond > 0)) throw new Error(`redis-benchmark -t ${command}: expected a line of figures, found:\n${output}`);
  return perSecond;
}

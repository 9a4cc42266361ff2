import path from 'node:path';
import autocannon from 'autocannon';
import { isInstalled, root, runTool } from './child.js';
import { KEY_COUNT, valueOf } from './data-set.js';

/** Requests per second of a closed loop, each connection waiting for its answer. wrk, or autocannon where it is missing. */
export async function httpLoad(
  method: 'GET' | 'PUT',
  url: string,
  connections: number,
  seconds: number,
): Promise<number> {
  return isInstalled('wrk')
    ? await wrk(method, url, connections, seconds)
    : await cannon(method, url, connections, seconds);
}

export function httpLoadTool(): string {
  return isInstalled('wrk') ? 'wrk -t1' : 'autocannon';
}

async function wrk(method: 'GET' | 'PUT', url: string, connections: number, seconds: number): Promise<number> {
  const script = path.join(root, `bench/wrk/${method.toLowerCase()}.lua`);
  const output = await runTool('wrk', ['-t1', `-c${connections}`, `-d${seconds}s`, '-s', script, url]);
  const bad = /Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)/.exec(output);
  const perSecond = Number(/Requests\/sec:\s+([\d.]+)/.exec(output)?.[1]);
  if (bad !== null || !(perSecond > 0))
    throw new Error(`${method} ${url}: expected answers of 2xx only, wrk printed:\n${output}`);
  return perSecond;
}

async function cannon(method: 'GET' | 'PUT', url: string, connections: number, seconds: number): Promise<number> {
  const body = method === 'PUT' ? { body: JSON.stringify({ value: valueOf(30) }) } : {};
  const requests = Array.from({ length: 1000 }, (_, i) => ({
    method,
    path: `/api/v1/kv/user:${(i * 7919) % KEY_COUNT}`,
    headers: { 'content-type': 'application/json' },
    ...body,
  }));
  const result = await autocannon({ url, connections, duration: seconds, requests });
  if (result.non2xx > 0 || result.errors > 0)
    throw new Error(`${method} ${url}: ${result.non2xx} answers not 2xx, ${result.errors} errors`);
  return result.requests.average;
}

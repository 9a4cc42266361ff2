import { Agent, request } from 'node:http';
import { CairnClient } from '../client/index.js';
import type { ConnectionOptions } from './connection-options.js';
import { UsageError } from './exit-code.js';

/** One connection that load goes through. */
export interface LoadTarget {
  get(key: string): Promise<void>;
  put(key: string, value: Uint8Array): Promise<void>;
  putMany(keys: readonly string[], value: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

export function binaryTargets(options: ConnectionOptions & { readonly connections: number }): LoadTarget[] {
  return Array.from({ length: options.connections }, () => {
    const client = new CairnClient({
      endpoints: options.endpoints.split(',').map((endpoint) => endpoint.trim()),
      ...(options.token === undefined ? {} : { token: options.token }),
      clientName: 'cairn-bench',
      deadlineMs: options.timeoutMs,
      maxAttempts: 1,
    });
    return {
      async get(key) {
        await client.getRaw(key);
      },
      async put(key, value) {
        await client.putRaw(key, value, { contentType: 'application/json' });
      },
      async putMany(keys, value) {
        const results = await client.batch(keys.map((put) => ({ put, bytes: value, contentType: 'application/json' })));
        for (const result of results) if (result.error !== undefined) throw result.error;
      },
      close: () => client.close(),
    };
  });
}

export function httpTargets(url: string, connections: number): LoadTarget[] {
  if (!URL.canParse(url))
    throw new UsageError(`expected --http to be an address such as http://127.0.0.1:8080, found "${url}"`);
  return Array.from({ length: connections }, () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const path = (key: string): string => `/api/v1/kv/${encodeURIComponent(key)}`;
    return {
      get: (key) => exchange(agent, url, 'GET', path(key), null),
      put: (key, value) => exchange(agent, url, 'PUT', path(key), `{"value":${Buffer.from(value).toString()}}`),
      putMany(keys, value) {
        const text = Buffer.from(value).toString();
        return exchange(
          agent,
          url,
          'POST',
          '/api/v1/kv/batch',
          `{${keys.map((key) => `${JSON.stringify(key)}:${text}`).join(',')}}`,
        );
      },
      async close() {
        agent.destroy();
      },
    };
  });
}

function exchange(agent: Agent, url: string, method: string, path: string, body: string | null): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers =
      body === null ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const call = request(new URL(path, url), { agent, method, headers }, (response) => {
      response.on('error', reject);
      response.on('end', () => {
        if (response.statusCode === 200) resolve();
        else reject(new Error(`HTTP status ${response.statusCode}`));
      });
      response.resume();
    });
    call.on('error', reject);
    call.end(body ?? undefined);
  });
}

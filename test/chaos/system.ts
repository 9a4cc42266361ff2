import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';

export function sleep(durationMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, durationMs));
}

/** Runs a command of the system to its end. Rejects with what it said. */
export function run(command: string, ...parameters: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(command, [...parameters], (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${command} ${parameters.join(' ')}: ${stderr.trim() || error.message}`));
    });
  });
}

/** Why the command fails; null when it succeeds. */
export async function obstacleOf(command: string, ...parameters: readonly string[]): Promise<string | null> {
  try {
    await run(command, ...parameters);
    return null;
  } catch (error) {
    return (error as Error).message.split('\n')[0]!;
  }
}

/** Below the ports that the system gives to connections: one of those would take the port of a node that is down. */
const PORTS = { first: 15_000, count: 15_000 };

export async function freePort(): Promise<number> {
  for (;;) {
    const port = PORTS.first + Math.floor(Math.random() * PORTS.count);
    const server = createServer().listen(port, '127.0.0.1');
    const isFree = await Promise.race([
      once(server, 'listening').then(() => true),
      once(server, 'error').then(() => false),
    ]).catch(() => false);
    if (!isFree) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}

/** What is at this share of the values from below; NaN of none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(sorted.length * share) - 1))] ?? Number.NaN;
}

export function milliseconds(value: number): string {
  return Number.isNaN(value) ? '-' : `${Math.round(value)} ms`;
}

/** p50, p99 and the longest of some times. */
export function spread(values: readonly number[]): string {
  const [half, most, longest] = [0.5, 0.99, 1].map((share) => milliseconds(percentile(values, share)));
  return `p50 ${half}, p99 ${most}, max ${longest} of ${values.length}`;
}

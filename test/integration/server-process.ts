import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const CAIRN = fileURLToPath(new URL('../../src/cli/cairn.js', import.meta.url));

export interface ServerProcess {
  readonly child: ChildProcess;
  readonly httpPort: number;
  readonly managementPort: number;
  readonly clientPort: number;
  readonly url: string;
  /** Log lines so far. */
  readonly lines: readonly string[];
  /** Sends the signal and resolves with the exit code, null when the signal ended it. */
  stop(signal: NodeJS.Signals): Promise<number | null>;
}

/** A real node as users start it, on free ports. Rejects with its output when it ends before it is ready. */
export async function startServer(dataDir: string, flags: readonly string[] = []): Promise<ServerProcess> {
  const ports = ['--http-port', '0', '--management-port', '0', '--client-port', '0', '--peer-port', '0'];
  const child = spawn(process.execPath, [CAIRN, 'serve', '--data-dir', dataDir, ...ports, ...flags], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NO_COLOR: '1' },
  });
  const lines: string[] = [];
  const ended = once(child, 'exit');
  const errors: string[] = [];
  child.stderr.on('data', (chunk: Buffer) => errors.push(chunk.toString()));
  const ready = await new Promise<Record<string, unknown>>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      lines.push(line);
      if (line.includes('"msg":"ready"')) resolve(JSON.parse(line) as Record<string, unknown>);
    });
    void ended.then(([code]) => reject(new Error(`exit ${String(code)}: ${lines.join('\n')}${errors.join('')}`)));
  });
  const httpPort = Number(ready['httpPort']);
  return {
    child,
    httpPort,
    managementPort: Number(ready['managementPort']),
    clientPort: Number(ready['clientPort']),
    url: `http://127.0.0.1:${httpPort}`,
    lines,
    async stop(signal) {
      child.kill(signal);
      const [code] = (await ended) as [number | null];
      return code;
    },
  };
}

/** Runs `cairn serve` that is expected to fail; resolves with its exit code and what it said. */
export async function failingServer(flags: readonly string[]): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, [CAIRN, 'serve', ...flags], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output };
}

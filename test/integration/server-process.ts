import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const CAIRN = fileURLToPath(new URL('../../src/cli/cairn.js', import.meta.url));
const FREE_PORTS = ['--http-port', '0', '--management-port', '0', '--client-port', '0', '--peer-port', '0'];

/** A start that neither succeeds nor fails is a failure, not a reason to wait until the test's own limit. */
const START_LIMIT_MS = 60_000;

/** A test file that is ended by its time limit leaves no node behind. */
const running = new Set<ChildProcess>();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));
process.once('SIGTERM', () => process.exit(143));

export interface ServerProcess {
  readonly child: ChildProcess;
  readonly httpPort: number;
  readonly managementPort: number;
  readonly clientPort: number;
  readonly url: string;
  /** Log lines so far. */
  readonly lines: readonly string[];
  /** What it wrote to standard error so far. */
  readonly errorOutput: () => string;
  /** Resolves with the exit code, null when a signal ended it. */
  readonly exited: Promise<number | null>;
  /** Sends the signal and resolves with the exit code, null when the signal ended it. */
  stop(signal: NodeJS.Signals): Promise<number | null>;
}

function spawnServer(flags: readonly string[], environment: Readonly<Record<string, string>>): ChildProcess {
  const child = spawn(process.execPath, [CAIRN, 'serve', ...flags], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NO_COLOR: '1', ...environment },
  });
  running.add(child);
  child.once('close', () => running.delete(child));
  return child;
}

/** A node that ended before it was ready. */
export class FailedStartError extends Error {
  readonly code: number | null;
  readonly stderr: string;

  constructor(code: number | null, lines: readonly string[], stderr: string) {
    super(`exit ${String(code)}: ${lines.join('\n')}${stderr}`);
    this.code = code;
    this.stderr = stderr;
  }
}

/** A real node as users start it, on free ports. Rejects with a FailedStartError when it ends before it is ready. */
export async function startServer(
  dataDir: string,
  flags: readonly string[] = [],
  environment: Readonly<Record<string, string>> = {},
): Promise<ServerProcess> {
  const child = spawnServer(['--data-dir', dataDir, ...FREE_PORTS, ...flags], environment);
  const lines: string[] = [];
  let errorOutput = '';
  const limit = setTimeout(() => child.kill('SIGKILL'), START_LIMIT_MS);
  const exited = once(child, 'close').then(([code]) => code as number | null);
  child.stderr!.on('data', (chunk: Buffer) => (errorOutput += chunk.toString()));
  const ready = await new Promise<Record<string, unknown>>((resolve, reject) => {
    createInterface({ input: child.stdout! }).on('line', (line) => {
      lines.push(line);
      if (line.includes('"msg":"ready"')) resolve(JSON.parse(line) as Record<string, unknown>);
    });
    void exited.then((code) => reject(new FailedStartError(code, lines, errorOutput)));
  }).finally(() => clearTimeout(limit));
  const httpPort = Number(ready['httpPort']);
  return {
    child,
    httpPort,
    managementPort: Number(ready['managementPort']),
    clientPort: Number(ready['clientPort']),
    url: `http://127.0.0.1:${httpPort}`,
    lines,
    errorOutput: () => errorOutput,
    exited,
    stop(signal) {
      child.kill(signal);
      return exited;
    },
  };
}

export interface FailedStart {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly output: string;
}

/**
 * Runs `cairn serve` that is expected to fail; resolves with its exit code and what it said. One that starts all the same
 * is killed when it is ready, and has no exit code then. Ports that the flags don't name are free ones.
 */
export async function failingServer(flags: readonly string[]): Promise<FailedStart> {
  const child = spawnServer([...FREE_PORTS, ...flags], {});
  let stdout = '';
  let stderr = '';
  const limit = setTimeout(() => child.kill('SIGKILL'), START_LIMIT_MS);
  child.stdout!.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
    if (stdout.includes('"msg":"ready"')) child.kill('SIGKILL');
  });
  child.stderr!.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  clearTimeout(limit);
  return { code, stdout, stderr, output: stdout + stderr };
}

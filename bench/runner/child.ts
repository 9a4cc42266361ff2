import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';

/** The project's root, from dist/bench/runner/. */
export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');

const READY_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 20_000;
const running = new Set<Child>();

/** A server or tool that runs beside the benchmark, with what it printed kept for the error message. */
export class Child {
  readonly name: string;
  readonly #process: ChildProcessByStdio<null, Readable, Readable>;
  readonly #lines: string[] = [];
  readonly #waiting = new Set<(line: string | null) => void>();
  readonly #closed: Promise<unknown>;
  #exited = false;

  constructor(name: string, command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.name = name;
    this.#process = spawn(command, args, {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#closed = once(this.#process, 'close').catch((error: unknown) => this.#hear(String(error)));
    running.add(this);
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      createInterface({ input: stream }).on('line', (line) => this.#hear(line));
    }
    void this.#closed.then(() => {
      this.#exited = true;
      running.delete(this);
      for (const hear of this.#waiting) hear(null);
    });
  }

  get pid(): number {
    if (this.#process.pid === undefined) throw new Error(`${this.name} did not start`);
    return this.#process.pid;
  }

  /** The first line, past or to come, for which `find` gives something. */
  async line<T>(find: (line: string) => T | null): Promise<T> {
    for (const line of this.#lines) {
      const found = find(line);
      if (found !== null) return found;
    }
    return await new Promise<T>((resolve, reject) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(hear);
      };
      const fail = (why: string): void => {
        done();
        reject(new Error(`${this.name} ${why}; it printed:\n${this.#lines.slice(-20).join('\n')}`));
      };
      const hear = (line: string | null): void => {
        if (line === null) return fail('ended before it was ready');
        const found = find(line);
        if (found === null) return;
        done();
        resolve(found);
      };
      const timer = setTimeout(() => fail(`was not ready within ${READY_TIMEOUT_MS / 1000} s`), READY_TIMEOUT_MS);
      if (this.#exited) fail('ended before it was ready');
      else this.#waiting.add(hear);
    });
  }

  /** Resident memory in MiB, shared pages included; NaN where /proc is not there. */
  residentMegabytes(): number {
    const status = `/proc/${this.pid}/status`;
    if (!fs.existsSync(status)) return Number.NaN;
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(fs.readFileSync(status, 'utf8'))?.[1]) / 1024;
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (this.#exited) return;
    this.#process.kill(signal);
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await this.#closed;
    clearTimeout(timer);
  }

  #hear(line: string): void {
    this.#lines.push(line);
    if (this.#lines.length > 200) this.#lines.shift();
    for (const hear of this.#waiting) hear(line);
  }
}

/** Ends every child that still runs. */
export async function stopAll(): Promise<void> {
  await Promise.all([...running].map((child) => child.stop('SIGKILL')));
}

/** Runs a tool to its end and returns what it printed. */
export async function runTool(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  const tool = spawn(command, args, { cwd: root, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let errors = '';
  tool.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  tool.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  const [code] = (await once(tool, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code ?? 'a signal'}:\n${output}${errors}`);
  return output;
}

export function isInstalled(command: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${command}`]).status === 0;
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('expected a TCP address');
  return address.port;
}

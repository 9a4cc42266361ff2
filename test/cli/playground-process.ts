import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { PlaygroundNode } from '../../src/cli/playground/playground.js';

const CAIRN = fileURLToPath(new URL('../../src/cli/cairn.js', import.meta.url));
const LIMIT_MS = 100_000;

const running = new Set<ChildProcess>();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));

/** `cairn playground` as users start it, on free ports. */
export class PlaygroundProcess {
  readonly child: ChildProcess;
  readonly exited: Promise<number | null>;
  errorOutput = '';
  #heard: () => void = () => {};
  readonly #first: Promise<string>;

  constructor(flags: readonly string[]) {
    this.child = spawn(process.execPath, [CAIRN, 'playground', '-o', 'json', ...flags], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1', TMPDIR: process.env['TMPDIR'] ?? '/tmp' },
    });
    running.add(this.child);
    const limit = setTimeout(() => this.child.kill('SIGKILL'), LIMIT_MS);
    this.exited = once(this.child, 'close').then(([code]) => {
      clearTimeout(limit);
      running.delete(this.child);
      this.#heard();
      return code as number | null;
    });
    this.child.stderr!.on('data', (chunk: Buffer) => {
      this.errorOutput += chunk.toString();
      this.#heard();
    });
    this.#first = new Promise((resolve, reject) => {
      createInterface({ input: this.child.stdout! }).once('line', resolve);
      void this.exited.then((code) => reject(new Error(`exit ${code} before it was ready: ${this.errorOutput}`)));
    });
    this.#first.catch(() => undefined);
  }

  async ready(): Promise<{ directory: string; nodes: PlaygroundNode[] }> {
    return JSON.parse(await this.#first) as { directory: string; nodes: PlaygroundNode[] };
  }

  /** Resolves when what it told people matches; rejects when it ends without having said that. */
  async says(pattern: RegExp): Promise<void> {
    while (!pattern.test(this.errorOutput)) {
      if (this.child.exitCode !== null) throw new Error(`expected ${pattern}, found ${this.errorOutput}`);
      await new Promise<void>((resolve) => (this.#heard = resolve));
    }
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

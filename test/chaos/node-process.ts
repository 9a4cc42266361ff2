import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, type WriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const CAIRN = fileURLToPath(new URL('../../src/cli/cairn.js', import.meta.url));
const START_LIMIT_MS = 60_000;
const REMEMBERED_LINES = 20;

const running = new Set<ChildProcess>();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));

export interface NodeCommand {
  /** In front of the command line. */
  readonly prefix: readonly string[];
  readonly flags: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly logFile: string;
}

/** A node as users start it. What it writes goes to a file. */
export class NodeProcess {
  /** It said that it is ready. Rejects when it ends before. */
  readonly ready: Promise<void>;
  /** Resolves when it has ended, however. */
  readonly ended: Promise<void>;
  hasEnded = false;
  readonly #child: ChildProcess;
  readonly #lastLines: string[] = [];

  constructor({ prefix, flags, environment, logFile }: NodeCommand) {
    const [command, ...parameters] = [...prefix, process.execPath, CAIRN, 'serve', ...flags] as [string, ...string[]];
    const log = createWriteStream(logFile, { flags: 'a' });
    log.write(`--- ${flags.join(' ')}\n`);
    this.#child = spawn(command, parameters, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1', ...environment },
    });
    running.add(this.#child);
    this.ended = once(this.#child, 'close').then(([code, signal]) => {
      this.hasEnded = true;
      running.delete(this.#child);
      log.end(`--- ended: ${String(code ?? signal)}\n`);
    });
    this.ready = this.#waitUntilReady(log);
    // Whoever kills it while it starts does not wait for it.
    this.ready.catch(() => undefined);
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** What it said last. */
  get lastLines(): string {
    return this.#lastLines.join('\n');
  }

  async #waitUntilReady(log: WriteStream): Promise<void> {
    let isReady = (): void => undefined;
    const ready = new Promise<void>((resolve) => (isReady = resolve));
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      createInterface({ input: stream }).on('line', (line) => {
        log.write(`${line}\n`);
        this.#lastLines.push(line);
        if (this.#lastLines.length > REMEMBERED_LINES) this.#lastLines.shift();
        if (line.includes('"msg":"ready"')) isReady();
      });
    }
    const limit = setTimeout(() => this.signal('SIGKILL'), START_LIMIT_MS);
    const failed = this.ended.then(() => Promise.reject(new Error(`ended before it was ready:\n${this.lastLines}`)));
    await Promise.race([ready, failed]).finally(() => clearTimeout(limit));
  }
}

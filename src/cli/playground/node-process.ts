import { spawn, type ChildProcess } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { finished } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { STOP_WITH_PARENT } from '../serve-command.js';

const CAIRN = fileURLToPath(new URL('../cairn.js', import.meta.url));
const LAST_LINES = 10;
/** Beyond the time that a node allows itself to stop. */
const STOP_LIMIT_MS = 20_000;

export interface NodeProcessOptions {
  readonly nodeId: string;
  /** Behind `cairn serve`. */
  readonly flags: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly logFile: string;
  /** Each line that the node prints. */
  readonly onLine: (line: string) => void;
}

/** How a process ended, in words. */
export type Ending = string;

/** One node of a playground, a process of its own. */
export class NodeProcess {
  readonly nodeId: string;
  readonly flags: readonly string[];
  /** Resolves when the process has ended and its last line was heard. */
  readonly ended: Promise<Ending>;
  readonly #child: ChildProcess;
  readonly #lastLines: string[] = [];
  #hasEnded = false;

  constructor({ nodeId, flags, environment, logFile, onLine }: NodeProcessOptions) {
    this.nodeId = nodeId;
    this.flags = flags;
    // In a process group of its own: Ctrl-C reaches only the playground, which stops one node after the other. The channel ends with
    // the playground however that dies, and then the node stops too.
    this.#child = spawn(process.execPath, [CAIRN, 'serve', ...flags], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env: { ...environment, [STOP_WITH_PARENT]: '1' },
    });
    const log = createWriteStream(logFile, { flags: 'a' });
    // The log file is a convenience: a full disk must not end the playground.
    log.on('error', () => undefined);
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      createInterface({ input: stream }).on('line', (line) => {
        this.#lastLines.push(line);
        if (this.#lastLines.length > LAST_LINES) this.#lastLines.shift();
        log.write(`${line}\n`);
        onLine(line);
      });
    }
    this.ended = new Promise((resolve) => {
      const end = (ending: Ending): void => {
        this.#hasEnded = true;
        log.end();
        void finished(log)
          .catch(() => undefined)
          .then(() => resolve(ending));
      };
      this.#child.once('error', (error) => end(error.message));
      this.#child.once('close', (code, signal) =>
        end(signal === null ? `exit code ${String(code)}` : `signal ${signal}`),
      );
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** What it printed last, for the report of its death. */
  get lastLines(): readonly string[] {
    return this.#lastLines;
  }

  /** SIGTERM, and SIGKILL when that does not help. Resolves when the process has ended. */
  async stop(): Promise<void> {
    if (this.#hasEnded) return;
    this.#child.kill('SIGTERM');
    const limit = setTimeout(() => this.kill(), STOP_LIMIT_MS);
    await this.ended;
    clearTimeout(limit);
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}

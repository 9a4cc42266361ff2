import { OPTIONS } from '../../config.js';
import { HOST } from './addresses.js';
import type { Home } from './home.js';
import { readLogLine } from './log-line.js';
import { NodeProcess } from './node-process.js';

const READY_LIMIT_MS = 60_000;
const READY_POLL_MS = 100;

/** Several nodes share this machine; what the environment says has precedence. */
const SMALL_NODE: Readonly<Record<string, string>> = {
  CAIRN_MEMTABLE_SIZE_MB: '16',
  CAIRN_BLOCK_CACHE_SIZE_MB: '64',
  CAIRN_LOG_SEGMENT_SIZE_MB: '32',
};

export interface PlaygroundOptions {
  readonly home: Home;
  /** For every node, behind `cairn serve`. */
  readonly serveFlags: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Every line of the logs, not only warnings. */
  readonly verbose: boolean;
  readonly say: (text: string) => void;
}

export interface PlaygroundNode {
  readonly id: string;
  readonly http: string;
  readonly management: string;
  readonly client: string;
  readonly peer: string;
  readonly pid: number;
  readonly dataDir: string;
}

/** Several real nodes on this machine. Nothing is started again by itself. */
export class Playground {
  readonly #options: PlaygroundOptions;
  readonly #processes: readonly NodeProcess[];
  #isStopping = false;
  /** Resolves when the last node has ended. */
  readonly allEnded: Promise<void>;

  constructor(options: PlaygroundOptions) {
    this.#options = options;
    const { home, serveFlags, environment } = options;
    const ids = home.ports.map((_, i) => `n${i + 1}`);
    const members = ids.map((id, i) => `${id}=${HOST}:${home.ports[i]!.peer}`).join(',');
    const inherited = { ...SMALL_NODE, ...environment };
    this.#processes = home.ports.map(({ http, management, client, peer }, i) => {
      const nodeId = ids[i]!;
      const flags = [
        ...serveFlags,
        ...['--node-id', nodeId, '--data-dir', home.dataDirectory(nodeId)],
        ...['--http-port', String(http), '--management-port', String(management)],
        ...['--client-port', String(client), '--peer-port', String(peer)],
        ...(ids.length === 1 ? [] : [`--${OPTIONS.cluster.flag}`, members]),
      ];
      return new NodeProcess({
        nodeId,
        flags,
        environment: inherited,
        logFile: home.logFile(nodeId),
        onLine: (line) => this.#hear(nodeId, line),
      });
    });
    this.allEnded = Promise.all(
      this.#processes.map((node) => node.ended.then((ending) => this.#end(node, ending))),
    ).then(() => undefined);
  }

  get nodes(): PlaygroundNode[] {
    const { home } = this.#options;
    return this.#processes.map(({ nodeId, pid }, i) => {
      const { http, management, client, peer } = home.ports[i]!;
      return {
        id: nodeId,
        http: `http://${HOST}:${http}`,
        management: `http://${HOST}:${management}`,
        client: `${HOST}:${client}`,
        peer: `${HOST}:${peer}`,
        pid,
        dataDir: home.dataDirectory(nodeId),
      };
    });
  }

  /** Resolves when all nodes serve; rejects when one ends before that, or when it takes too long. */
  async ready(): Promise<void> {
    const waiting = new Map(this.nodes.map(({ id, management }) => [id, management]));
    const until = performance.now() + READY_LIMIT_MS;
    let found = '';
    while (waiting.size > 0) {
      const dead = this.#processes.find(({ hasEnded }) => hasEnded);
      if (dead !== undefined) throw new Error(`node ${dead.nodeId} ended before the playground was ready`);
      for (const [id, management] of waiting) {
        const [answer, body] = await fetch(`${management}/readyz`, { signal: AbortSignal.timeout(1000) })
          .then(async (response) => [response.ok, await response.text()] as const)
          .catch((error: Error) => [false, error.message] as const);
        if (answer) waiting.delete(id);
        else found = `${id}: ${body}`;
      }
      if (performance.now() > until) {
        throw new Error(`expected all nodes to be ready within ${READY_LIMIT_MS / 1000} s, found ${found}`);
      }
      if (waiting.size > 0) await new Promise((resolve) => setTimeout(resolve, READY_POLL_MS));
    }
  }

  /** One after the other, so that each can hand its leaderships to those that are left. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    for (const node of this.#processes) await node.stop();
    await this.allEnded;
  }

  /** All at once, without a word to them. */
  kill(): void {
    this.#isStopping = true;
    for (const node of this.#processes) node.kill();
  }

  #hear(nodeId: string, line: string): void {
    const { isTrouble, text } = readLogLine(line);
    // While nodes go one by one, the others tell that they have lost them.
    if (this.#options.verbose || (isTrouble && !this.#isStopping)) this.#options.say(`${nodeId} | ${text}`);
  }

  #end(node: NodeProcess, ending: string): void {
    if (this.#isStopping) return;
    const { nodeId, lastLines, flags } = node;
    const last = lastLines.map((line) => `\n  ${nodeId} | ${readLogLine(line).text}`).join('');
    this.#options.say(
      `node ${nodeId} ended: ${ending}. Its last lines:${last}\n` +
        `It is not started again by itself; to do so: cairn serve ${flags.map(quoted).join(' ')}`,
    );
  }
}

/** As a shell takes it. */
function quoted(word: string): string {
  return /^[\w./:=,@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

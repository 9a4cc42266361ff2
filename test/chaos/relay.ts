import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Links } from './links.js';
import type { LinkRule, RelayOpened, RelayOrder, RelayTarget } from './relay-messages.js';

const PROCESS = fileURLToPath(new URL('./relay-process.js', import.meta.url));

/** A process that carries the bytes between the nodes. It ends with this one. */
export class Relay {
  readonly #child: ChildProcess = fork(PROCESS, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  readonly #rules = new Map<string, LinkRule>();

  /** Listens for a node; resolves with the port where others reach it through the relay. */
  async open(node: string, host: string, target: RelayTarget): Promise<number> {
    this.#send({ kind: 'open', node, host, target });
    for (;;) {
      const [opened] = (await once(this.#child, 'message')) as [RelayOpened];
      if (opened.node === node) return opened.port;
    }
  }

  change(from: string, to: string, change: Partial<LinkRule>): void {
    const name = `${from}>${to}`;
    const before = this.#rules.get(name) ?? { from, to, cut: false, delayMs: 0, stallShare: 0 };
    this.#rules.set(name, { ...before, ...change });
    this.#send({ kind: 'rules', rules: [...this.#rules.values()] });
  }

  clear(): void {
    this.#rules.clear();
    this.#send({ kind: 'rules', rules: [] });
  }

  /** Ends all connections. */
  drop(): void {
    this.#send({ kind: 'drop' });
  }

  close(): void {
    this.#child.kill('SIGKILL');
  }

  #send(order: RelayOrder): void {
    this.#child.send(order);
  }
}

/** Faults without any right on the machine: all connections between nodes lead through the relay. */
export class RelayLinks implements Links {
  readonly description =
    'no namespaces: connections between nodes lead through a relay process, which holds bytes back (cut, 200 ms, 10 % stalls)';
  readonly #relay: Relay;
  readonly #names: readonly string[];

  constructor(relay: Relay, names: readonly string[]) {
    this.#relay = relay;
    this.#names = names;
  }

  cut(from: string, to: string): Promise<void> {
    this.#relay.change(from, to, { cut: true });
    return Promise.resolve();
  }

  delay(node: string, delayMs: number): Promise<void> {
    for (const other of this.#others(node)) this.#relay.change(node, other, { delayMs });
    return Promise.resolve();
  }

  lose(node: string, share: number): Promise<void> {
    for (const other of this.#others(node)) {
      this.#relay.change(node, other, { stallShare: share });
      this.#relay.change(other, node, { stallShare: share });
    }
    return Promise.resolve();
  }

  heal(): Promise<void> {
    this.#relay.clear();
    return Promise.resolve();
  }

  #others(node: string): string[] {
    return this.#names.filter((name) => name !== node);
  }
}

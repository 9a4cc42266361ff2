import { spawn, type ChildProcess } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import type { Links } from './links.js';
import { Relay } from './relay.js';
import { obstacleOf, run, sleep } from './system.js';

const BRIDGE = '10.77.0.254';
const PEER_PORT = '9091';

interface Namespace {
  readonly address: string;
  /** A process that does nothing but hold the namespace. */
  readonly holder: ChildProcess;
}

/**
 * A network namespace for each node, all on one bridge with this process, where the clients are. Rules of iptables drop
 * packets; delays are netem's where the kernel has it, else connections are led through a relay process by rewriting their
 * destination. To be used inside of `runInside` only.
 */
export class NamespaceLinks implements Links {
  readonly description: string;
  readonly #namespaces: ReadonlyMap<string, Namespace>;
  readonly #hasNetem: boolean;
  readonly #relay = new Relay();
  readonly #relayPorts = new Map<string, number>();

  private constructor(namespaces: ReadonlyMap<string, Namespace>, netemObstacle: string | null) {
    this.#namespaces = namespaces;
    this.#hasNetem = netemObstacle === null;
    const delays = this.#hasNetem
      ? '200 ms by netem'
      : `200 ms by a relay process, as the kernel has no netem (${netemObstacle!.split(': ').at(-1)})`;
    this.description = `a network namespace for each node: cuts and 10 % loss by iptables, ${delays}`;
  }

  static async build(names: readonly string[]): Promise<NamespaceLinks> {
    await run('ip', 'link', 'set', 'lo', 'up');
    await run('ip', 'link', 'add', 'br0', 'type', 'bridge');
    await run('ip', 'address', 'add', `${BRIDGE}/24`, 'dev', 'br0');
    await run('ip', 'link', 'set', 'br0', 'up');
    const namespaces = new Map<string, Namespace>();
    for (const [i, name] of names.entries()) namespaces.set(name, await addNamespace(i + 1));
    const links = new NamespaceLinks(namespaces, await findNetemObstacle());
    for (const [name, { address }] of namespaces) {
      links.#relayPorts.set(name, await links.#relay.open(name, BRIDGE, { host: address, port: Number(PEER_PORT) }));
    }
    return links;
  }

  address(node: string): string {
    return this.#namespaces.get(node)!.address;
  }

  /** The beginning of a command line that runs the rest in the node's namespace, as the same process. */
  enter(node: string): string[] {
    return ['nsenter', `--net=/proc/${this.#namespaces.get(node)!.holder.pid}/ns/net`];
  }

  async cut(from: string, to: string): Promise<void> {
    await this.#iptables(to, '-A', 'INPUT', '-s', this.address(from), '-j', 'DROP');
  }

  async lose(node: string, share: number): Promise<void> {
    const chance = ['-m', 'statistic', '--mode', 'random', '--probability', String(share), '-j', 'DROP'];
    for (const other of this.#others(node)) {
      await this.#iptables(node, '-A', 'INPUT', '-s', this.address(other), ...chance);
      await this.#iptables(other, '-A', 'INPUT', '-s', this.address(node), ...chance);
    }
  }

  async delay(node: string, delayMs: number): Promise<void> {
    if (this.#hasNetem) {
      await this.#run(node, 'tc', 'qdisc', 'add', 'dev', 'eth0', 'root', 'netem', 'delay', `${delayMs}ms`);
      return;
    }
    for (const other of this.#others(node)) {
      this.#relay.change(node, other, { delayMs });
      await this.#detour(node, other);
      await this.#detour(other, node);
    }
  }

  async heal(): Promise<void> {
    for (const name of this.#namespaces.keys()) {
      await this.#iptables(name, '-F');
      if (!this.#hasNetem) await this.#iptables(name, '-t', 'nat', '-F');
      else await obstacleOf(...this.#command(name, 'tc', 'qdisc', 'del', 'dev', 'eth0', 'root'));
    }
    this.#relay.clear();
    // Connections that came in by the detour would stay on it.
    this.#relay.drop();
  }

  /** New connections to the node's peer port lead through the relay, and the present ones break. */
  async #detour(from: string, to: string): Promise<void> {
    const calls = ['OUTPUT', '-p', 'tcp', '-d', this.address(to), '--dport', PEER_PORT];
    const relay = `${BRIDGE}:${this.#relayPorts.get(to)}`;
    await this.#iptables(from, '-t', 'nat', '-A', ...calls, '-j', 'DNAT', '--to-destination', relay);
    await this.#iptables(from, '-A', ...calls, '-j', 'REJECT', '--reject-with', 'tcp-reset');
  }

  async #iptables(node: string, ...parameters: readonly string[]): Promise<void> {
    await this.#run(node, 'iptables', '-w', '5', ...parameters);
  }

  async #run(node: string, ...command: readonly string[]): Promise<void> {
    await run(...this.#command(node, ...command));
  }

  #command(node: string, ...command: readonly string[]): [string, ...string[]] {
    return [...this.enter(node), ...command] as [string, ...string[]];
  }

  #others(node: string): string[] {
    return [...this.#namespaces.keys()].filter((name) => name !== node);
  }
}

async function findNetemObstacle(): Promise<string | null> {
  await run('ip', 'link', 'add', 'try0', 'type', 'veth', 'peer', 'name', 'try1');
  const obstacle = await obstacleOf('tc', 'qdisc', 'add', 'dev', 'try0', 'root', 'netem', 'delay', '1ms');
  await run('ip', 'link', 'delete', 'try0');
  return obstacle;
}

async function addNamespace(number: number): Promise<Namespace> {
  const address = `10.77.0.${number}`;
  const own = readlinkSync('/proc/self/ns/net');
  const holder = spawn('unshare', ['--net', 'sleep', 'infinity'], { stdio: 'ignore' });
  while (readlinkSync(`/proc/${holder.pid}/ns/net`) === own) await sleep(5);
  const [outer, pid] = [`v${number}`, String(holder.pid)];
  await run('ip', 'link', 'add', outer, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', pid);
  await run('ip', 'link', 'set', outer, 'master', 'br0', 'up');
  const within = (...command: readonly string[]): Promise<string> =>
    run('nsenter', `--net=/proc/${pid}/ns/net`, ...command);
  await within('ip', 'link', 'set', 'lo', 'up');
  await within('ip', 'address', 'add', `${address}/24`, 'dev', 'eth0');
  await within('ip', 'link', 'set', 'eth0', 'up');
  return { address, holder };
}

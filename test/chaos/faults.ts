import type { Prng } from '../../src/base/prng.js';
import type { Cluster } from './cluster.js';
import { FlippedByte } from './flipped-byte.js';
import type { Links } from './links.js';
import type { Load } from './load.js';
import type { SmallDisk } from './small-disk.js';
import { sleep } from './system.js';
import { ChaosViolation } from './violation.js';

export interface World {
  readonly cluster: Cluster;
  readonly links: Links;
  readonly load: Load;
  /** Null where none can be mounted. */
  readonly smallDisk: SmallDisk | null;
}

/** A fault under way. */
export interface Trouble {
  /** What it hit, for people. */
  readonly what: string;
  /** When it took effect, by performance.now(). */
  readonly sinceMs: number;
  /** Nodes of a majority that can talk, which so must take writes to all partitions. */
  readonly serving: readonly string[];
  /** Called from time to time. */
  readonly goOn?: () => void;
  /** Undoes it; resolves with what else there is to say. */
  end(): Promise<string>;
}

interface FaultKind {
  readonly what: string;
  readonly begin: (world: World, prng: Prng) => Promise<Trouble>;
}

const DELAY_MS = 200;
const LOSS_SHARE = 0.1;
/** How long a node with a flipped byte may take until it serves. */
const DAMAGED_START_MS = 20_000;
/** How long keys are read through it. */
const DAMAGED_READ_MS = 3000;
/** More than the logs of the others keep, with segments and memtables as small as here. */
const MISSED_BYTES = 60 << 20;
/** Of each key, 100 ms apart. */
const READ_ATTEMPTS = 100;

export const FAULTS = {
  kill: {
    what: 'kill -9 of a node',
    begin: (world, prng) => killed(world, [prng.pick(world.cluster.names)]),
  },
  'kill-leader': {
    what: 'kill -9 of the node that leads the most partitions',
    begin: async (world) => killed(world, [await leadingMost(world.cluster)]),
  },
  'kill-many': {
    what: 'kill -9 of a majority',
    begin: (world, prng) => {
      const spared = new Set(shuffled(world.cluster.names, prng).slice(0, (world.cluster.names.length - 1) / 2));
      return killed(
        world,
        world.cluster.names.filter((name) => !spared.has(name)),
      );
    },
  },
  'kill-all': {
    what: 'kill -9 of all nodes at once',
    begin: (world) => killed(world, world.cluster.names),
  },
  'left-behind': {
    what: 'a node is killed and started when 60 MB were written: it catches up by snapshots',
    begin: (world, prng) => leftBehind(world, prng.pick(world.cluster.names)),
  },
  stop: {
    what: 'SIGSTOP of a node, then SIGCONT',
    begin: ({ cluster }, prng) => stopped(cluster, prng.pick(cluster.names)),
  },
  'stop-leader': {
    what: 'the same of the node that leads the most partitions',
    begin: async ({ cluster }) => stopped(cluster, await leadingMost(cluster)),
  },
  isolate: {
    what: 'a node hears no other, and none hears it; clients reach it',
    begin: async ({ cluster, links }, prng) => {
      const node = prng.pick(cluster.names);
      for (const other of cluster.others(node)) {
        await links.cut(node, other);
        await links.cut(other, node);
      }
      return linked(links, node, cluster.others(node));
    },
  },
  'one-way': {
    what: 'what one node sends does not reach another',
    begin: async ({ cluster, links }, prng) => {
      const [from, to, ...rest] = shuffled(cluster.names, prng) as [string, string, ...string[]];
      await links.cut(from, to);
      return linked(links, `${from} to ${to}`, rest);
    },
  },
  bridge: {
    what: 'two nodes do not hear each other; the others hear both',
    begin: async ({ cluster, links }, prng) => {
      const [one, other, ...rest] = shuffled(cluster.names, prng) as [string, string, ...string[]];
      await links.cut(one, other);
      await links.cut(other, one);
      return linked(links, `${one} and ${other}`, rest);
    },
  },
  delay: {
    what: `what a node sends to others comes ${DELAY_MS} ms late`,
    begin: async ({ cluster, links }, prng) => {
      const node = prng.pick(cluster.names);
      await links.delay(node, DELAY_MS);
      return linked(links, node, cluster.names);
    },
  },
  loss: {
    what: `${LOSS_SHARE * 100} % of the packets between a node and the others are lost`,
    begin: async ({ cluster, links }, prng) => {
      const node = prng.pick(cluster.names);
      await links.lose(node, LOSS_SHARE);
      return linked(links, node, cluster.names);
    },
  },
  'disk-full': {
    what: 'the disk of one node is full (a small tmpfs)',
    begin: async ({ cluster, smallDisk }) => {
      await smallDisk!.fill();
      return {
        what: smallDisk!.node,
        sinceMs: performance.now(),
        serving: cluster.others(smallDisk!.node),
        goOn: () => smallDisk!.topUp(),
        end: () => {
          smallDisk!.release();
          return Promise.resolve('');
        },
      };
    },
  },
  'flip-table': {
    what: 'a node is killed, a byte of a table of it is flipped, it is started',
    begin: (world, prng) => flipped(world, prng, 'table'),
  },
  'flip-log': {
    what: 'the same with a byte of its log',
    begin: (world, prng) => flipped(world, prng, 'log'),
  },
} as const satisfies Record<string, FaultKind>;

export type FaultName = keyof typeof FAULTS;
export const FAULT_NAMES = Object.keys(FAULTS) as FaultName[];

/** Those that come on top of one that touches a node's process or files. */
export const NETWORK_FAULTS: ReadonlySet<FaultName> = new Set(['isolate', 'one-way', 'bridge', 'delay', 'loss']);

/** Those in which much is written. */
export const NEEDS_MAJORITY: ReadonlySet<FaultName> = new Set(['left-behind']);

export async function leadingMost(cluster: Cluster): Promise<string> {
  const led = ledBy(await cluster.leaders());
  return [...led].sort((a, b) => b[1].length - a[1].length)[0]![0];
}

/** The partitions of each node that leads some. */
export function ledBy(leaders: ReadonlyMap<number, string>): Map<string, number[]> {
  const led = new Map<string, number[]>();
  for (const [partition, leader] of leaders) led.set(leader, [...(led.get(leader) ?? []), partition]);
  return led;
}

async function killed({ cluster }: World, names: readonly string[]): Promise<Trouble> {
  const sinceMs = performance.now();
  await Promise.all(names.map((name) => cluster.kill(name)));
  const others = cluster.names.filter((name) => !names.includes(name));
  return {
    what: names.join(', '),
    sinceMs,
    serving: others.length > cluster.names.length / 2 ? others : [],
    end: async () => {
      await Promise.all(names.map((name) => cluster.start(name)));
      return '';
    },
  };
}

async function leftBehind(world: World, name: string): Promise<Trouble> {
  const { cluster, load } = world;
  const trouble = await killed(world, [name]);
  await load.writeBulk(MISSED_BYTES);
  return {
    ...trouble,
    sinceMs: performance.now(),
    end: async () => {
      await cluster.start(name);
      const { told } = await load.readAgain(name, READ_ATTEMPTS);
      const snapshots = await cluster.metric(name, 'cairn_snapshots_received_total');
      return `; ${told} keys right, ${snapshots} snapshots`;
    },
  };
}

function stopped(cluster: Cluster, name: string): Promise<Trouble> {
  cluster.stop(name);
  return Promise.resolve({
    what: name,
    sinceMs: performance.now(),
    serving: cluster.others(name),
    end: () => {
      cluster.continue(name);
      return Promise.resolve('');
    },
  });
}

function linked(links: Links, what: string, serving: readonly string[]): Trouble {
  return { what, sinceMs: performance.now(), serving, end: () => links.heal().then(() => '') };
}

/** A log is repaired from the other members when the node starts; a table is only reported, and so gets its byte back. */
async function flipped({ cluster, load }: World, prng: Prng, kind: 'table' | 'log'): Promise<Trouble> {
  const name = prng.pick(cluster.names);
  await cluster.kill(name);
  const directory = cluster.dataDirectory(name);
  const byte = kind === 'table' ? FlippedByte.inTable(directory, prng) : FlippedByte.inLog(directory, prng);
  const refusal = await startDamaged(cluster, name, byte);
  return {
    what: `${name}, ${byte?.what ?? 'no such file'}`,
    sinceMs: performance.now(),
    serving: cluster.others(name),
    end: async () => {
      if (refusal !== null) {
        byte?.restore();
        await cluster.start(name);
        return '; it refused to start, and did with the byte flipped back';
      }
      // Everything that it tells is right, or it says that it can't.
      const { told, untold } = await load.readAgain(name, 1, DAMAGED_READ_MS);
      const seen = `; it started, ${told} keys right, ${untold} not told`;
      if (byte?.isThere() !== true) return `${seen}; the damage is gone`;
      await cluster.kill(name);
      if (kind === 'table') byte.restore();
      await cluster.start(name);
      return `${seen}; ${kind === 'table' ? 'flipped back' : 'it started again with the damage'}`;
    },
  };
}

/** Null when it started; else what it said. A refusal has to name the damage. */
async function startDamaged(cluster: Cluster, name: string, byte: FlippedByte | null): Promise<string | null> {
  const started = cluster.start(name).then(
    () => null,
    (error: Error) => error.message,
  );
  const refusal = await Promise.race([started, sleep(DAMAGED_START_MS).then(() => 'it hangs')]);
  if (refusal === null || (byte !== null && /corrupt/i.test(refusal))) return refusal;
  throw new ChaosViolation(`promise 5: ${name} with ${byte?.what ?? 'nothing'} flipped: ${refusal}`);
}

function shuffled<T>(values: readonly T[], prng: Prng): T[] {
  const rest = [...values];
  return values.map(() => rest.splice(prng.below(rest.length), 1)[0]!);
}

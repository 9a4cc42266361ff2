import path from 'node:path';
import { startCairn, type CairnNode } from './cairn-node.js';
import { freePort } from './child.js';
import type { Bench } from './row.js';

const NODES = ['n1', 'n2', 'n3'];
const READY_LIMIT_MS = 60_000;
/** Leaderships move one after the other; what is measured before that is not what stays. */
const BALANCED_LIMIT_MS = 25_000;
const MOST_PER_NODE = 24;
const POLL_MS = 200;

interface Status {
  readonly nodes: readonly { readonly id: string; readonly partitionsLed: number }[];
}

export interface CairnCluster {
  readonly nodes: readonly CairnNode[];
  stop(): Promise<void>;
}

/** Three nodes of the built product that agree, with their leaderships spread (in a quick run: as they come). */
export async function startCairnCluster({ folder, quick, say }: Bench): Promise<CairnCluster> {
  const ports: number[] = [];
  for (const _ of NODES) ports.push(await freePort());
  const members = NODES.map((name, i) => `${name}=127.0.0.1:${ports[i]}`).join(',');
  const nodes = await Promise.all(
    NODES.map((name, i) =>
      startCairn(path.join(folder, name), [`--node-id=${name}`, `--peer-port=${ports[i]}`, `--cluster=${members}`]),
    ),
  );
  await until(READY_LIMIT_MS, 'all nodes to be ready', async () => {
    const answers = await Promise.all(nodes.map(({ managementUrl }) => fetch(`${managementUrl}/readyz`)));
    return answers.every(({ ok }) => ok);
  });
  let led: readonly number[] = [];
  const balanced = async (): Promise<boolean> => {
    const { nodes: entries } = (await (await fetch(`${nodes[0]!.managementUrl}/api/v1/cluster`)).json()) as Status;
    led = entries.map(({ partitionsLed }) => partitionsLed);
    return Math.max(...led) <= MOST_PER_NODE;
  };
  await until(quick ? 0 : BALANCED_LIMIT_MS, 'spread leaderships', balanced).catch((error: Error) => {
    if (!quick) say(error.message);
  });
  say(`three nodes lead ${led.join(', ')} partitions`);
  return {
    nodes,
    async stop() {
      for (const { child } of nodes) await child.stop();
    },
  };
}

async function until(limitMs: number, what: string, holds: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + limitMs;
  while (!(await holds().catch(() => false))) {
    if (performance.now() > end) throw new Error(`expected ${what} within ${limitMs / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

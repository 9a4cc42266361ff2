import path from 'node:path';
import { Child, freePort, root } from './child.js';

/** One node of the built product, started as a user starts it. */
export interface CairnNode {
  readonly child: Child;
  readonly httpUrl: string;
  readonly managementUrl: string;
  readonly clientPort: number;
  readonly startedInMs: number;
}

export async function startCairn(folder: string, flags: readonly string[] = []): Promise<CairnNode> {
  const [http, management, client, peer] = [await freePort(), await freePort(), await freePort(), await freePort()];
  const start = performance.now();
  const child = new Child('cairn', process.execPath, [
    path.join(root, 'dist/src/cli/cairn.js'),
    'serve',
    `--data-dir=${path.join(folder, 'cairn')}`,
    `--http-port=${http}`,
    `--management-port=${management}`,
    `--client-port=${client}`,
    `--peer-port=${peer}`,
    ...flags,
  ]);
  await child.line((line) => (line.includes('"msg":"ready"') ? true : null));
  return {
    child,
    httpUrl: `http://127.0.0.1:${http}`,
    managementUrl: `http://127.0.0.1:${management}`,
    clientPort: client,
    startedInMs: performance.now() - start,
  };
}

/** The value of one sample of /metrics; labels as printed, for example `cairn_x{quantile="0.99"}`. */
export async function metric(node: CairnNode, sample: string): Promise<number> {
  const text = await (await fetch(`${node.managementUrl}/metrics`)).text();
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${sample} `));
  if (line === undefined) throw new Error(`expected ${sample} among the metrics, found none`);
  return Number(line.slice(sample.length + 1));
}

import { binaryLoad, buildBinaryLoad } from '../runner/binary-load.js';
import { startCairnCluster, type CairnCluster } from '../runner/cairn-cluster.js';
import { KEY_COUNT, preload } from '../runner/data-set.js';
import { Etcd } from '../runner/etcd.js';
import { httpLoad, httpLoadTool } from '../runner/http-load.js';
import type { Bar, Bench, Figure, Row } from '../runner/row.js';
import { interleave, ratioFigure, type Contestant } from '../runner/statistics.js';

const CLIENTS = 64;
const STREAMS = 16;

interface Comparison {
  readonly name: string;
  readonly title: string;
  readonly against: string;
  readonly unit: string;
  readonly bar: Bar;
  readonly needsKeys?: true;
  ours(cluster: CairnCluster, seconds: number): Promise<number>;
  theirs(etcd: Etcd, seconds: number): Promise<number>;
}

/** Both clusters run side by side on this machine, idle while the other one is measured. */
async function compare(comparison: Comparison, bench: Bench): Promise<readonly Figure[]> {
  const { folder, rounds, seconds, say } = bench;
  const { name, title, against, unit, bar } = comparison;
  buildBinaryLoad();
  const etcd = await Etcd.start(folder);
  const cluster = await startCairnCluster(bench);
  if (comparison.needsKeys === true) await preload(cluster.nodes[0]!);
  const contestants: Contestant[] = [
    { name: `Cairn, ${unit}`, run: (duration) => comparison.ours(cluster, duration) },
    { name: `${against}, ${unit}`, run: (duration) => comparison.theirs(etcd, duration) },
  ];
  const [ours = [], theirs = []] = await interleave(rounds, seconds, contestants, say);
  await Promise.all([cluster.stop(), etcd.stop()]);
  return [
    ratioFigure(name, title, bar, { name: 'Cairn', unit, rounds: ours }, { name: against, unit, rounds: theirs }),
  ];
}

const comparisons: readonly Comparison[] = [
  {
    name: 'three-nodes-http-put',
    title: `three nodes: HTTP PUT to one node, ${CLIENTS} outstanding (${httpLoadTool()})`,
    against: 'etcd put-64',
    unit: '/s',
    bar: { reach: 2, aim: 4, better: 'higher' },
    ours: ({ nodes }, seconds) => httpLoad('PUT', nodes[0]!.httpUrl, CLIENTS, seconds),
    theirs: (etcd, seconds) => etcd.putsPerSecond(CLIENTS, 1, seconds),
  },
  {
    name: 'three-nodes-binary-put',
    // No client routes by a cluster map yet, so two of three requests take a hop.
    title: `three nodes: binary PUT, ${(CLIENTS * STREAMS).toLocaleString('en')} outstanding, connections spread over the nodes`,
    against: 'etcd put-1024',
    unit: '/s',
    bar: { reach: 1.5, aim: 4, better: 'higher' },
    ours: async ({ nodes }, seconds) => {
      const ports = nodes.map(({ clientPort }) => clientPort);
      const load = { op: 'put', connections: CLIENTS, pipeline: STREAMS, keys: KEY_COUNT } as const;
      return (await binaryLoad({ ...load, port: ports, seconds })).perSecond;
    },
    theirs: (etcd, seconds) => etcd.putsPerSecond(CLIENTS, STREAMS, seconds),
  },
  {
    name: 'three-nodes-http-get',
    title: `three nodes: linearizable HTTP GET from one node, ${CLIENTS} outstanding (${httpLoadTool()})`,
    against: 'etcd get-64',
    unit: '/s',
    bar: { reach: 3, aim: 5, better: 'higher' },
    needsKeys: true,
    ours: ({ nodes }, seconds) => httpLoad('GET', nodes[0]!.httpUrl, CLIENTS, seconds),
    theirs: (etcd, seconds) => etcd.getsPerSecond(CLIENTS, 1, seconds),
  },
  {
    name: 'three-nodes-put-latency',
    title: 'three nodes: PUT p50 of a single binary client at one node',
    against: 'etcd put-1 p50',
    unit: 'us',
    bar: { reach: 0.8, aim: 0.5, better: 'lower' },
    ours: async ({ nodes }, seconds) => {
      const load = { op: 'put', connections: 1, pipeline: 1, keys: KEY_COUNT } as const;
      return (await binaryLoad({ ...load, port: nodes[0]!.clientPort, seconds })).p50Ms * 1000;
    },
    theirs: (etcd, seconds) => etcd.putP50Us(seconds),
  },
];

export const threeNodes: readonly Row[] = comparisons.map((comparison) => ({
  name: comparison.name,
  title: `${comparison.title}, against ${comparison.against}`,
  run: (bench: Bench) => compare(comparison, bench),
}));

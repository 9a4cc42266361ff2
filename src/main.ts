import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { availableParallelism } from 'node:os';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { assert } from './base/assert.js';
import { CairnError } from './base/errors.js';
import type { Logger } from './base/logger.js';
import type { GroupHost } from './cluster/group-host.js';
import { NO_TRANSPORT, type RaftTransport } from './cluster/host/raft-transport.js';
import { InstantHolds } from './cluster/instants/instant-holds.js';
import { Instants } from './cluster/instants/instants.js';
import { openLocalNode } from './cluster/local-node.js';
import type { Member } from './cluster/members.js';
import { PeerBindings } from './cluster/peer-bindings.js';
import { PeerTransport } from './cluster/peers/transport.js';
import { readIdentity } from './cluster/node-identity.js';
import { validateJson } from './codec/json-scan.js';
import type { Config } from './config.js';
import { NO_MEMBER } from './raft/entry.js';
import { makeDirectoryDurablySync } from './engine/file-io.js';
import type { EngineJobs } from './engine/jobs/jobs.js';
import { NodeBlockReaderThread } from './platform/block-reader-thread.js';
import { DataDirectoryLock } from './platform/data-directory-lock.js';
import { LogThreadWriter } from './platform/log-thread-writer.js';
import { NodeClock } from './platform/node-clock.js';
import { NodeDisk } from './platform/node-disk.js';
import { NodeNetwork } from './platform/node-network.js';
import { NodeRandom } from './platform/node-random.js';
import { PiscinaExecutor } from './platform/piscina-executor.js';
import { startHttpServer } from './server/http/http-server.js';
import { observeGroups, observePeers } from './server/cluster-metrics.js';
import { startManagementServer } from './server/management/management-server.js';
import { LOOP_DELAY_RESOLUTION_MS, Metrics } from './server/metrics.js';
import { NodeService } from './server/node-service.js';
import { nodeStatus } from './server/node-status.js';
import { ForwardedRequests } from './server/routing/forwarded-requests.js';
import { instantAsker } from './server/routing/instant-requests.js';
import type { PartitionMap } from './server/routing/partition-map.js';
import { RoutedService } from './server/routing/routed-service.js';
import type { Service } from './server/service.js';
import { TcpServer } from './server/tcp/tcp-server.js';

export interface RunningNode {
  readonly httpPort: number;
  readonly managementPort: number;
  readonly clientPort: number;
  readonly service: NodeService;
  /** Drains, finishes what was accepted, closes everything. Resolves when the data directory is free again. */
  stop(): Promise<void>;
}

const VERSION = (
  JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
).version;

/** How long a node that ends waits for others to take its groups over. */
const HAND_OVER_MS = 3000;
const LSM_WORKER = new URL('../workers/lsm-worker.js', import.meta.url);

/**
 * The composition root: one node from its configuration. Rejects with a CairnError of one line, having touched nothing, when
 * a port is taken or the data directory is locked, of another format, or of another node. `onFatal` is called when the
 * running node can't go on; the process must then end at once.
 */
export async function startNode(config: Config, logger: Logger, onFatal: (error: Error) => void): Promise<RunningNode> {
  const startedAtMs = Date.now();
  await checkPorts(config);
  const disk = new NodeDisk();
  const clock = new NodeClock();
  const random = new NodeRandom();
  const members = config.cluster.length === 0 ? [config.nodeId] : config.cluster.map(({ nodeId }) => nodeId);
  // Looked at before the lock file is made: a refusal leaves the directory as it was.
  readIdentity(disk.blocking, config.dataDir, { ...config, members });
  if (!disk.blocking.exists(config.dataDir)) makeDirectoryDurablySync(disk.blocking, config.dataDir);
  const lock = DataDirectoryLock.acquire(config.dataDir);
  const stopped: (() => Promise<void> | void)[] = [() => lock.release()];
  const stopAll = async (): Promise<void> => {
    for (let stop = stopped.pop(); stop !== undefined; stop = stopped.pop()) await stop();
  };
  try {
    const backgroundThreads = config.workers > 0 ? config.workers : Math.max(1, availableParallelism() - 1);
    const executor = new PiscinaExecutor<EngineJobs>({ workerUrl: LSM_WORKER, backgroundThreads });
    stopped.push(() => executor.close());
    const metrics = new Metrics();
    const peers: PeersBox = { transport: null };
    const others = members.filter((nodeId) => nodeId !== config.nodeId);
    const bindings = new PeerBindings(disk.blocking, config.dataDir, others);
    const node = await openLocalNode({
      ...config,
      disk,
      clock,
      random,
      executor,
      members,
      ...(config.cluster.length === 0
        ? {}
        : {
            clusterId: clusterIdOf(config.cluster),
            transport: raftTransport(peers),
            missingMembers: () => bindings.missing,
          }),
      logWriter: new LogThreadWriter(),
      blockReaderThread: new NodeBlockReaderThread(),
      logger,
      onFatal,
      onLogWrite: (durationMs, bytes, records) => metrics.logWrite(durationMs, bytes, records),
    });
    stopped.push(
      () => peers.transport?.close(),
      () => node.close(),
    );
    let library = '';
    const holds = new InstantHolds(node.host, clock);
    const instants = new Instants({
      nodeId: config.nodeId,
      host: node.host,
      engine: node.engine,
      holds,
      ask: instantAsker({ request: (...request) => connected(peers).request(...request) }),
      clock,
      random,
      requestTimeoutMs: config.requestTimeoutMs,
    });
    const local = new NodeService({
      ...node,
      ...(config.cluster.length === 0 ? {} : { instants }),
      clock,
      nodeId: config.nodeId,
      maxValueBytes: config.maxValueBytes,
      status: () =>
        nodeStatus({
          node,
          dataDir: config.dataDir,
          advertiseHost: config.advertiseHost,
          version: VERSION,
          startedAtMs,
          httpLibrary: library,
          peers: config.cluster
            .filter(({ nodeId }) => nodeId !== config.nodeId)
            .map(({ nodeId }) => ({
              nodeId,
              isUp: peers.transport?.isUp(nodeId) ?? false,
              roundTripMs: peers.transport?.roundTripMs(nodeId) ?? null,
            })),
        }),
    });
    const map = partitionMap(config.nodeId, node.host);
    let service: Service = local;
    if (config.cluster.length > 0) {
      const forwarded = new ForwardedRequests({
        local,
        map,
        holds,
        clock,
        logger,
        limits: { maxValueBytes: config.maxValueBytes },
      });
      const addresses = new Map(config.cluster.map((member) => [member.nodeId, member]));
      const transport = new PeerTransport({
        network: new NodeNetwork(),
        clock,
        random,
        nodeId: config.nodeId,
        clusterId: node.identity.clusterId,
        incarnation: node.identity.incarnation,
        host: config.host,
        port: config.peerPort,
        addresses: () => addresses,
        admit: (peer) =>
          addresses.has(peer.nodeId)
            ? bindings.bind(peer.nodeId, peer.incarnation)
            : `node "${peer.nodeId}" is no member of this cluster`,
        logger,
        onMessages: (nodeId, messages) => node.host.receive(nodeId, messages),
        onRequest: (_nodeId, body, answer) => void forwarded.handle(body).then(answer, onFatal),
        onBulk: (nodeId, header, stream) => node.host.receiveBulk(nodeId, header, stream),
        onPeerUp: (nodeId) => {
          logger.info({ peer: nodeId }, 'peer connected');
          if (bindings.welcomed(nodeId)) logger.info({}, 'every member has met this data directory: it takes part');
        },
        onPeerDown: (nodeId) => {
          logger.warn({ peer: nodeId }, 'peer lost');
          node.host.peerDown(nodeId);
        },
      });
      peers.transport = transport;
      observePeers(metrics, () => transport.stats());
      await transport.listen();
      if (!bindings.isKnown) {
        logger.info({ members: bindings.missing }, 'a new data directory takes part when it has met every member once');
      }
      service = new RoutedService({
        local,
        map,
        peers: transport,
        clock,
        partitionCount: node.host.groups.length,
        requestTimeoutMs: config.requestTimeoutMs,
      });
    }
    const loopDelay = monitorEventLoopDelay({ resolution: LOOP_DELAY_RESOLUTION_MS });
    loopDelay.enable();
    stopped.push(() => void loopDelay.disable());
    metrics.observeNode({ node, loopDelay });
    observeGroups(metrics, node.host.groups);

    const { maxValueBytes, corsOrigins } = config;
    const http = await startHttpServer({
      host: config.host,
      port: config.httpPort,
      service,
      metrics,
      clock,
      logger,
      maxValueBytes,
      corsOrigins,
    });
    stopped.push(() => http.close());
    library = http.library;
    const tcp = await TcpServer.listen({
      service,
      network: new NodeNetwork(),
      clock,
      host: config.host,
      port: config.clientPort,
      checkJson,
      limits: { maxValueBytes },
      logger,
    });
    // A start that fails below must not leave a process that listens. After a drain there is nothing left to close.
    stopped.push(() => tcp.close(0));
    const management = await startManagementServer({
      host: config.managementHost,
      port: config.managementPort,
      service,
      metrics,
      clock,
      logger,
      compact: () => node.engine.compact(),
    });
    stopped.push(() => management.close());
    return {
      httpPort: http.port,
      managementPort: management.port,
      clientPort: tcp.port,
      service: local,
      async stop() {
        local.drain();
        await node.host.handOver(HAND_OVER_MS);
        await Promise.all([http.drain(config.shutdownTimeoutMs), tcp.close(config.shutdownTimeoutMs)]);
        await stopAll();
      },
    };
  } catch (error) {
    await stopAll();
    throw error;
  }
}

/** Filled when the node is open: the groups need a transport before it can listen. */
interface PeersBox {
  transport: PeerTransport | null;
}

/** Nobody asks other nodes before this one listens. */
function connected({ transport }: PeersBox): PeerTransport {
  assert(transport !== null, 'requests come when the node listens');
  return transport;
}

function raftTransport(peers: PeersBox): RaftTransport {
  return {
    send: (nodeId, message) => peers.transport?.send(nodeId, message),
    flush: () => peers.transport?.flush(),
    openBulk: (nodeId, header) => peers.transport?.openBulk(nodeId, header) ?? NO_TRANSPORT.openBulk(nodeId, header),
  };
}

/** The same on every node that is given the same members. */
function clusterIdOf(members: readonly Member[]): string {
  const text = members.map(({ nodeId, host, port }) => `${nodeId}=${host}:${port}`).join(',');
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}

function partitionMap(nodeId: string, host: GroupHost): PartitionMap {
  return {
    leaderOf: (partition) => {
      const group = host.groups[partition]!;
      const leader = host.leaderOf(group);
      const cannotWrite = !group.isServing || group.raft.transferee !== NO_MEMBER;
      if (leader === null || (leader === nodeId && cannotWrite)) return null;
      return { nodeId: leader, isLocal: leader === nodeId };
    },
    isLed: (partition) => host.leaderOf(host.groups[partition]!) !== null,
    localCanRead: (partition) => host.readsAlone(host.groups[partition]!),
    hasReplica: () => true,
  };
}

/** A port that is taken must be found before the data directory is touched, so each is tried and let go first. */
async function checkPorts(config: Config): Promise<void> {
  const wanted: readonly (readonly [string, string, number])[] = [
    ['http-port', config.host, config.httpPort],
    ['management-port', config.managementHost, config.managementPort],
    ['client-port', config.host, config.clientPort],
    ...(config.cluster.length === 0 ? [] : [['peer-port', config.host, config.peerPort] as const]),
  ];
  const flags = new Map<number, string>();
  for (const [flag, host, port] of wanted) {
    if (port === 0) continue;
    const other = flags.get(port);
    if (other !== undefined) {
      throw new CairnError('configuration', `--${flag} ${port}: --${other} has the same port; each needs its own`);
    }
    flags.set(port, flag);
    await tryPort(flag, host, port);
  }
}

function tryPort(flag: string, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', (error: NodeJS.ErrnoException) => {
      const reason = error.code === 'EADDRINUSE' ? 'is taken by another process' : `can't be opened: ${error.message}`;
      reject(new CairnError('configuration', `--${flag}: port ${port} on ${host} ${reason}`, { cause: error }));
    });
    probe.listen({ host, port, exclusive: true }, () => probe.close(() => resolve()));
  });
}

function checkJson(bytes: Uint8Array, start: number, length: number): CairnError | null {
  try {
    validateJson(bytes, start, start + length);
    return null;
  } catch (error) {
    if (error instanceof CairnError) return error;
    throw error;
  }
}

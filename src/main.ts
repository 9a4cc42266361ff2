import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { availableParallelism } from 'node:os';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { CairnError } from './base/errors.js';
import type { Logger } from './base/logger.js';
import { openLocalNode } from './cluster/local-node.js';
import type { Member } from './cluster/members.js';
import { readIdentity } from './cluster/node-identity.js';
import { validateJson } from './codec/json-scan.js';
import type { Config } from './config.js';
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
import { ClusterMember } from './server/cluster-member.js';
import { observeGroups, observeInstants, observePeers } from './server/cluster-metrics.js';
import { startManagementServer } from './server/management/management-server.js';
import { LOOP_DELAY_RESOLUTION_MS, Metrics } from './server/metrics.js';
import { NodeService, type NodeServiceOptions } from './server/node-service.js';
import { nodeStatus } from './server/node-status.js';
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
    const member =
      config.cluster.length === 0
        ? null
        : new ClusterMember({
            ...config,
            members: config.cluster,
            port: config.peerPort,
            disk: disk.blocking,
            network: new NodeNetwork(),
            clock,
            random,
            logger,
            onFatal,
          });
    const node = await openLocalNode({
      ...config,
      disk,
      clock,
      random,
      executor,
      members,
      ...(member === null
        ? {}
        : {
            clusterId: clusterIdOf(config.cluster),
            transport: member.transport,
            missingMembers: () => member.missingMembers,
          }),
      logWriter: new LogThreadWriter(),
      blockReaderThread: new NodeBlockReaderThread(),
      logger,
      onFatal,
      onLogWrite: (durationMs, bytes, records) => metrics.logWrite(durationMs, bytes, records),
    });
    stopped.push(
      () => member?.close(),
      () => node.close(),
    );
    let library = '';
    const localOptions: NodeServiceOptions = {
      ...node,
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
          peers: member?.peerStatus ?? [],
        }),
    };
    const cluster = await member?.join(node, localOptions);
    if (member !== null) observePeers(metrics, () => member.peers!.stats());
    if (cluster !== undefined) observeInstants(metrics, cluster.instants, cluster.holds);
    const local = cluster?.local ?? new NodeService(localOptions);
    const service: Service = cluster?.service ?? local;
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

/** The same on every node that is given the same members. */
function clusterIdOf(members: readonly Member[]): string {
  const text = members.map(({ nodeId, host, port }) => `${nodeId}=${host}:${port}`).join(',');
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
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

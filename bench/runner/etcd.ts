import fs from 'node:fs';
import path from 'node:path';
import { Child, freePort, isInstalled, runTool } from './child.js';
import { Unavailable } from './row.js';
import { median } from './statistics.js';

const NODES = ['n1', 'n2', 'n3'];
const KEY = 'user:00000005';
const VALUE_BYTES = 100;
const API = { ETCDCTL_API: '3' };

/** Three etcd nodes, loaded at their leader over gRPC by h2load, which sends the same request again and again: one key. */
export class Etcd {
  readonly #children: readonly Child[];
  readonly #endpoints: readonly string[];
  readonly #folder: string;
  /** host:port; empty until it is known. */
  #leader = '';

  private constructor(children: readonly Child[], endpoints: readonly string[], folder: string) {
    this.#children = children;
    this.#endpoints = endpoints;
    this.#folder = folder;
  }

  /** Throws Unavailable where a tool is missing. */
  static async start(folder: string): Promise<Etcd> {
    for (const tool of ['etcd', 'etcdctl', 'h2load']) {
      if (!isInstalled(tool))
        throw new Unavailable(`${tool} is not installed (Debian: etcd-server etcd-client nghttp2-client)`);
    }
    const members: { name: string; client: string; peer: string }[] = [];
    for (const name of NODES) {
      members.push({ name, client: `127.0.0.1:${await freePort()}`, peer: `http://127.0.0.1:${await freePort()}` });
    }
    const cluster = members.map(({ name, peer }) => `${name}=${peer}`).join(',');
    const children = members.map(({ name, client, peer }) => {
      return new Child(`etcd ${name}`, 'etcd', [
        ...['--name', name, '--data-dir', path.join(folder, `etcd-${name}`)],
        ...['--listen-client-urls', `http://${client}`, '--advertise-client-urls', `http://${client}`],
        ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
        ...['--initial-cluster', cluster, '--initial-cluster-state', 'new'],
      ]);
    });
    await Promise.all(
      children.map((child) => child.line((line) => (/ready to serve client requests/.test(line) ? true : null))),
    );
    fs.writeFileSync(
      path.join(folder, 'Put'),
      grpcFrame(Buffer.concat([field(1, Buffer.from(KEY)), field(2, Buffer.alloc(VALUE_BYTES, 'x'))])),
    );
    fs.writeFileSync(path.join(folder, 'Range'), grpcFrame(field(1, Buffer.from(KEY))));
    const etcd = new Etcd(
      children,
      members.map(({ client }) => client),
      folder,
    );
    await etcd.#findLeader();
    await etcd.#load('Put', 1, 1, ['-n', '1']);
    return etcd;
  }

  /** Synced puts a second, so many at once: `clients` connections of `streams` each. */
  async putsPerSecond(clients: number, streams: number, seconds: number): Promise<number> {
    const before = await this.#revision();
    const { perSecond, succeeded } = await this.#load('Put', clients, streams, ['-D', String(seconds)]);
    // A gRPC error travels in an HTTP answer of 200, which h2load counts as success; only a put raises the revision.
    const written = (await this.#revision()) - before;
    if (written < succeeded) throw new Error(`etcd put: expected ${succeeded} writes, found ${written}`);
    return perSecond;
  }

  /** Linearizable reads a second. */
  async getsPerSecond(clients: number, streams: number, seconds: number): Promise<number> {
    return (await this.#load('Range', clients, streams, ['-D', String(seconds)])).perSecond;
  }

  /** Median time of one put after the other, in microseconds. */
  async putP50Us(seconds: number): Promise<number> {
    const log = path.join(this.#folder, 'latencies');
    fs.rmSync(log, { force: true });
    await this.#load('Put', 1, 1, ['-D', String(seconds), `--log-file=${log}`]);
    // Start in microseconds, status, microseconds until the end of the answer.
    const lines = fs.readFileSync(log, 'utf8').trim().split('\n');
    return median(lines.map((line) => Number(line.split('\t')[2])));
  }

  async stop(): Promise<void> {
    await Promise.all(this.#children.map((child) => child.stop()));
  }

  async #load(
    call: 'Put' | 'Range',
    clients: number,
    streams: number,
    extent: readonly string[],
  ): Promise<{ perSecond: number; succeeded: number }> {
    const output = await runTool('h2load', [
      ...['-t1', '-c', String(clients), '-m', String(streams), ...extent, '-d', path.join(this.#folder, call)],
      ...['-H', 'content-type: application/grpc', '-H', 'te: trailers'],
      `http://${this.#leader}/etcdserverpb.KV/${call}`,
    ]);
    const perSecond = Number(/^finished in .*?, ([\d.]+) req\/s/m.exec(output)?.[1]);
    const [succeeded, failed] = [/(\d+) succeeded/, /(\d+) failed/].map((pattern) => Number(pattern.exec(output)?.[1]));
    if (!(perSecond > 0) || !(succeeded! > 0) || failed !== 0)
      throw new Error(`etcd ${call}: expected answers, h2load printed:\n${output}`);
    return { perSecond, succeeded: succeeded! };
  }

  async #status(): Promise<readonly EndpointStatus[]> {
    const args = ['--endpoints', this.#endpoints.join(','), 'endpoint', 'status', '-w', 'json'];
    return JSON.parse(await runTool('etcdctl', args, API)) as EndpointStatus[];
  }

  async #findLeader(): Promise<void> {
    const leader = (await this.#status()).find(({ Status }) => Status.leader === Status.header.member_id);
    if (leader === undefined) throw new Error('expected a leader among the etcd nodes, found none');
    this.#leader = leader.Endpoint;
  }

  async #revision(): Promise<number> {
    const statuses = await this.#status();
    return statuses.find(({ Endpoint }) => Endpoint === this.#leader)!.Status.header.revision;
  }
}

interface EndpointStatus {
  readonly Endpoint: string;
  readonly Status: {
    readonly leader: number;
    readonly header: { readonly member_id: number; readonly revision: number };
  };
}

/** A length-delimited protobuf field below 128 bytes. */
function field(number: number, bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
}

function grpcFrame(message: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

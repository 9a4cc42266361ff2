import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CairnError } from '../../src/base/errors.js';
import { Prng } from '../../src/base/prng.js';
import { PLAIN_PUT, type Condition, type StoredVersion } from '../../src/server/service.js';
import { SimNode } from '../cluster/sim-node.js';
import { NodeHistory, type Item, type Write } from './node-history.js';
import { PowerLoss } from './ports/power-loss.js';
import { isMutation } from './ports/sim-disk.js';
import { SimLogWriter } from './ports/sim-log-writer.js';
import { SimMachine } from './sim-machine.js';

/** Thousands in the long runs; a few in the everyday one. */
const SEEDS = Number(process.env['CAIRN_TEST_SEEDS'] ?? 25);
const FIRST_SEED = Number(process.env['CAIRN_TEST_FIRST_SEED'] ?? 1);

const KEYS = Array.from({ length: 6 }, (_, i) => `key:${i}`);
const LIVES = 3;
const HOUR_MS = 3_600_000;
/** Far longer than any time-out: whoever is not answered by then never is. */
const LONGEST_LIFE_MS = 600_000;
const UNITS_PER_MS = 4096;

type Death = 'close' | 'power' | 'kill' | 'eio';

/** Clients of one life of the node: all write and read the same few keys, at once. */
class Clients {
  readonly #node: SimNode;
  readonly #history: NodeHistory;
  readonly #prng: Prng;
  readonly #reached: Map<string, number>;

  constructor(node: SimNode, history: NodeHistory, reached: Map<string, number>) {
    this.#node = node;
    this.#history = history;
    this.#prng = node.machine.prng.fork();
    this.#reached = reached;
  }

  async work(clients: number, steps: number): Promise<void> {
    const work = Array.from({ length: clients }, async () => {
      for (let i = 0; i < steps; i++) {
        await this.#step();
        if (this.#prng.chance(0.3)) await this.#node.machine.scheduler.sleep(this.#prng.unit() * 10);
      }
    });
    await Promise.all(work);
  }

  async #step(): Promise<void> {
    const prng = this.#prng;
    const key = prng.pick(KEYS);
    switch (prng.below(12)) {
      case 0:
        return this.#delete(key);
      case 1:
      case 2:
        return this.#conditional(key);
      case 3:
        return this.#scan(0);
      case 4:
        return this.#multiGet(0);
      case 5: {
        const revisions = this.#history.revisions();
        if (revisions.length === 0) return;
        return prng.chance(0.5) ? this.#scan(prng.pick(revisions)) : this.#multiGet(prng.pick(revisions));
      }
      case 6:
        if (prng.chance(0.3)) this.#node.machine.clock.jumpWall(prng.between(-HOUR_MS, HOUR_MS));
        return;
      case 7:
        if (prng.chance(0.2)) await this.#node.node.engine.flush();
        return;
      case 8:
      case 9:
        await this.#get(key);
        return;
      default:
        return this.#put(key, null);
    }
  }

  async #put(key: string, replaces: number | null): Promise<void> {
    const prng = this.#prng;
    const ttlSeconds = prng.chance(0.3) ? prng.pick([0.001, 0.02, 1, 60]) : 0;
    const value = `"${this.#history.now()}${'.'.repeat(prng.pick([0, 20, 2000, 9000]))}"`;
    const condition: Condition | null =
      replaces === null ? null : replaces === 0 ? { absent: true } : { revisions: [replaces] };
    const write = this.#history.beginWrite(key, value, ttlSeconds * 1000 * UNITS_PER_MS, replaces);
    const bytes = Buffer.from(key);
    await new Promise<void>((resolve) =>
      this.#node.service.put(
        bytes,
        0,
        bytes.length,
        Buffer.from(value),
        { ...PLAIN_PUT, ttlSeconds, condition },
        (error, revision) => {
          this.#answered(write, error, revision);
          resolve();
        },
      ),
    );
  }

  async #conditional(key: string): Promise<void> {
    const seen = await this.#get(key);
    if (seen !== undefined) await this.#put(key, seen);
  }

  async #delete(key: string): Promise<void> {
    const write = this.#history.beginWrite(key, null, 0, null);
    await new Promise<void>((resolve) =>
      this.#node.service.delete(Buffer.from(key), null, (error, revision, deleted) => {
        this.#answered(write, error, revision);
        if (error === null && !deleted) {
          write.outcome = 'refused';
          write.revision = 0;
          this.#history.look(key, write.invoked, 0, null);
        }
        resolve();
      }),
    );
  }

  #answered(write: Write, error: CairnError | null, revision: number): void {
    write.returned = this.#history.now();
    if (error === null) {
      write.outcome = 'ok';
      write.revision = revision;
      return;
    }
    this.#count(error.code);
    if (error.code === 'deadline_exceeded') {
      write.returned = Infinity;
      return;
    }
    write.outcome = 'refused';
    const current = error.extra?.['currentRevision'];
    if (error.code !== 'precondition_failed') expected(error);
    else if (current === 0) this.#history.look(write.key, write.invoked, 0, null);
  }

  /** The revision, 0 when absent; undefined when the read failed. */
  async #get(name: string): Promise<number | undefined> {
    const key = Buffer.from(name);
    const invoked = this.#history.now();
    const { service } = this.#node;
    const outcome = service.tryGet(key, 0, key.length);
    let version: StoredVersion | null = null;
    if (outcome === 'found') {
      const { bytes, start, length, revision, expiresAtMs, contentType } = service.found;
      version = { value: bytes.slice(start, start + length), revision, expiresAtMs, contentType };
    } else if (outcome === 'blocked') {
      try {
        version = await service.get(key, { at: 0 });
      } catch (error) {
        this.#failed(error);
        return undefined;
      }
    }
    this.#history.look(name, invoked, version?.revision ?? 0, textOf(version));
    return version?.revision ?? 0;
  }

  async #multiGet(at: number): Promise<void> {
    const invoked = this.#history.now();
    const items = new Map<string, Item>();
    try {
      const { revision, versions } = await this.#node.service.multiGet(
        KEYS.map((key) => Buffer.from(key)),
        { at },
      );
      versions.forEach((version, i) => {
        if (version !== null) items.set(KEYS[i]!, { value: textOf(version)!, revision: version.revision });
      });
      this.#history.snapshot(invoked, revision, at === 0, KEYS, items);
    } catch (error) {
      this.#failed(error);
    }
  }

  async #scan(at: number): Promise<void> {
    const invoked = this.#history.now();
    const items = new Map<string, Item>();
    try {
      const reverse = this.#prng.chance(0.3);
      const options = { startKey: new Uint8Array(), endKey: null, reverse, keysOnly: false, at };
      const scan = await this.#node.service.openScan(options);
      try {
        while (!scan.done) {
          for (const item of await scan.next(this.#prng.between(1, 4), 10_000)) {
            items.set(Buffer.from(item.key).toString(), { value: textOf(item)!, revision: item.revision });
          }
          if (this.#prng.chance(0.2)) await this.#node.machine.scheduler.sleep(this.#prng.unit() * 10);
        }
      } finally {
        scan.close();
      }
      this.#history.snapshot(invoked, scan.revision, at === 0, KEYS, items);
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    const { code } = error as CairnError;
    this.#count(code);
    if (code !== 'history_gone') expected(error as CairnError);
  }

  #count(what: string): void {
    this.#reached.set(what, (this.#reached.get(what) ?? 0) + 1);
  }
}

function expected(error: CairnError): void {
  if (error.code !== 'overloaded' && error.code !== 'disk_full' && error.code !== 'unavailable') throw error;
}

function textOf(version: StoredVersion | null): string | null {
  return version === null ? null : Buffer.from(version.value).toString();
}

/** One life of the node, until it closes or dies. */
async function live(
  machine: SimMachine,
  history: NodeHistory,
  death: Death,
  reached: Map<string, number>,
): Promise<void> {
  const { clock, disk, prng, scheduler } = machine;
  clock.jumpWall(prng.between(-24 * HOUR_MS, 24 * HOUR_MS));
  // The life before may have ended on a full disk.
  disk.capacityBytes = Infinity;
  const dies = (): void => machine.powerOff();
  let fatal = false;
  const latency = prng.fork();
  const isFull = prng.chance(0.3);
  const life = async (): Promise<void> => {
    const starting = SimNode.open(machine, {
      partitions: 4,
      memtableSizeBytes: 64 * 1024,
      blockCacheSizeBytes: prng.pick([16, 256]) * 1024,
      historyWindowMs: prng.pick([0, 1000, 600_000]),
      requestTimeoutMs: prng.pick([50, 5000]),
      logWriter: new SimLogWriter({ disk: disk.blocking, clock, latencyMs: () => latency.unit() * 3 }),
      onFatal: () => {
        fatal = true;
        dies();
      },
      tuning: { level0: { compactionTables: 2, ...(prng.chance(0.3) ? { slowTables: 0 } : {}) } },
    });
    const node = await starting;
    if (death === 'eio') {
      const operation = prng.pick(['write', 'sync', 'syncDirectory', 'rename'] as const);
      disk.inject({ operation, code: 'EIO', path: /\/data/, nth: prng.between(1, 60), times: Infinity });
    }
    const clients = new Clients(node, history, reached);
    const working = clients.work(prng.between(2, 6), prng.between(20, 80));
    // It may fail while nobody awaits it: a flush does on a broken disk, and then the machine is off.
    working.catch(() => undefined);
    if (isFull) {
      await scheduler.sleep(prng.unit() * 50);
      // Either nothing new finds space, or not even a write to space that was allocated does.
      if (prng.chance(0.5)) disk.capacityBytes = 0;
      else disk.inject({ operation: 'write', code: 'ENOSPC', path: /\/log\//, times: Infinity });
      await scheduler.sleep(prng.pick([20, 3000, 60_000]));
      disk.capacityBytes = Infinity;
      disk.heal();
    }
    await working;
    // Full disks are tried again every second.
    if (isFull) await scheduler.sleep(2500);
    await new Clients(node, history, reached).work(1, 10);
    await node.node.close();
  };
  if (death === 'power' || death === 'kill') {
    const stopAt = prng.between(30, 400);
    disk.onOperation = (operation) => {
      if (isMutation(operation) && disk.mutationCount === stopAt) dies();
    };
  }
  let settled = false;
  let failure: { readonly error: unknown } | null = null;
  void life().then(
    () => void (settled = true),
    (error: unknown) => {
      settled = true;
      failure = { error };
    },
  );
  try {
    const ended = await scheduler.runUntil(() => settled || disk.isOff, LONGEST_LIFE_MS);
    assert.ok(ended, `stuck at ${scheduler.nowMs} ms: somebody was never answered`);
  } catch (error) {
    if (!(error instanceof PowerLoss && disk.isOff)) throw error;
  }
  if (failure !== null && !disk.isOff) throw (failure as { error: unknown }).error;
  if (fatal) reached.set('fatal', (reached.get('fatal') ?? 0) + 1);
}

test('promises 1 to 3: keys are linearizable and snapshots strictly serializable, over crashes, full and broken disks, and clock jumps', async () => {
  const reached = new Map<string, number>();
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
    const prng = new Prng(seed);
    const history = new NodeHistory();
    let machine = SimMachine.first(prng.fork());
    const deaths: Death[] = [];
    try {
      for (let i = 0; i < LIVES; i++) {
        const death = prng.pick(['close', 'power', 'kill', 'eio'] as const);
        deaths.push(death);
        await live(machine, history, death, reached);
        machine =
          death === 'power' || (death === 'eio' && prng.chance(0.5)) ? machine.crash(prng) : machine.restart(prng);
      }
      deaths.push('close');
      await live(machine, history, 'close', reached);
      history.check();
    } catch (error) {
      throw new Error(`seed ${seed}, ${deaths.join(', ')}: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      });
    }
    reached.set('looks', (reached.get('looks') ?? 0) + history.lookCount);
    reached.set('snapshots', (reached.get('snapshots') ?? 0) + history.snapshotCount);
  }
  if (process.env['CAIRN_TEST_VERBOSE'] !== undefined) console.log(reached);
  for (const name of ['precondition_failed', 'disk_full', 'deadline_exceeded', 'history_gone', 'fatal', 'snapshots']) {
    assert.ok((reached.get(name) ?? 0) > 0, `no run reached ${name}`);
  }
});

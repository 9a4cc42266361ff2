import { CairnError } from '../../../src/base/errors.js';
import type { Prng } from '../../../src/base/prng.js';
import { PLAIN_PUT, type Condition as ServiceCondition, type Service } from '../../../src/server/service.js';
import type { Condition, Outcome } from '../checkers/operation.js';
import type { Scheduler } from '../ports/scheduler.js';
import { scanPages } from './client-scan.js';
import type { BatchEntry, ClusterClient, ScanOutcome, ScanRange, StaleOutcome } from './cluster-client.js';
import type { Running, SimCluster } from './sim-cluster.js';

const PATIENCE_MS = 4_000;
const MOST_HOPS = 3;

/** Asks any node. One that neither leads nor sends calls on says who does, and that one is asked instead. */
export class SimClient implements ClusterClient {
  readonly #cluster: SimCluster;
  readonly #scheduler: Scheduler;
  readonly #prng: Prng;
  readonly #node: string | null;

  constructor(cluster: SimCluster, scheduler: Scheduler, prng: Prng, node: string | null) {
    this.#node = node;
    this.#cluster = cluster;
    this.#scheduler = scheduler;
    this.#prng = prng;
  }

  put(name: string, value: string, condition: Condition | null, ttlSeconds = 0): Promise<Outcome> {
    const key = Buffer.from(name);
    const options = { ...PLAIN_PUT, ttlSeconds, condition: serviceCondition(condition) };
    return this.#write((service, done) => {
      service.put(key, 0, key.length, Buffer.from(JSON.stringify(value)), options, (error, revision) =>
        done(error, { kind: 'written', revision }),
      );
    });
  }

  delete(name: string, condition: Condition | null): Promise<Outcome> {
    return this.#write((service, done) => {
      service.delete(Buffer.from(name), serviceCondition(condition), (error, revision, deleted) =>
        done(error, deleted ? { kind: 'deleted', revision } : { kind: 'nothing' }),
      );
    });
  }

  async get(name: string): Promise<Outcome> {
    const running = this.#anyNode();
    if (running === null) return this.#refused();
    const key = Buffer.from(name);
    const read = arriving(running, (service) => service.get(key, { at: 0 })).then(
      (version): Outcome =>
        version === null
          ? { kind: 'absent' }
          : {
              kind: 'found',
              value: JSON.parse(Buffer.from(version.value).toString()) as string,
              revision: version.revision,
            },
      (): Outcome => ({ kind: 'failed' }),
    );
    return Promise.race([read, this.#patience<Outcome>({ kind: 'failed' })]);
  }

  async staleGet(name: string): Promise<StaleOutcome> {
    const running = this.#anyNode();
    if (running === null) {
      await this.#refused();
      return { kind: 'failed' };
    }
    let stalenessMs = 0;
    const onStaleness = (ms: number): void => void (stalenessMs = ms);
    const read = arriving(running, (service) =>
      service.get(Buffer.from(name), { at: 0, consistency: 'stale', onStaleness }),
    ).then(
      (version): StaleOutcome =>
        version === null
          ? { kind: 'absent', stalenessMs }
          : {
              kind: 'found',
              value: JSON.parse(Buffer.from(version.value).toString()) as string,
              revision: version.revision,
              stalenessMs,
            },
      (): StaleOutcome => ({ kind: 'failed' }),
    );
    return Promise.race([read, this.#patience<StaleOutcome>({ kind: 'failed' })]);
  }

  async batch(entries: readonly BatchEntry[]): Promise<readonly Outcome[]> {
    const running = this.#anyNode();
    if (running === null) {
      const refused = await this.#refused();
      return entries.map(() => refused);
    }
    const operations = entries.map(({ key, value }) => ({
      kind: 'put' as const,
      key: Buffer.from(key),
      value: Buffer.from(JSON.stringify(value)),
      contentType: '',
      ttlSeconds: 0,
    }));
    const done = arriving(
      running,
      (service) =>
        new Promise<readonly Outcome[]>((resolve) =>
          service.batch(operations, (results) =>
            resolve(
              results.map(({ error, revision }) => (error === null ? { kind: 'written', revision } : outcomeOf(error))),
            ),
          ),
        ),
    );
    const unknown = entries.map((): Outcome => ({ kind: 'unknown' }));
    return Promise.race([done, this.#patience(unknown)]);
  }

  scan(range: ScanRange): Promise<ScanOutcome> {
    return scanPages(async (ask) => {
      const running = this.#anyNode();
      if (running === null) {
        await this.#refused();
        return null;
      }
      const answer = arriving(running, ask).catch((error: unknown) => {
        if (!(error instanceof CairnError)) this.#scheduler.fail(error);
        return null;
      });
      return Promise.race([answer, this.#patience(null)]);
    }, range);
  }

  async #write(
    ask: (service: Service, done: (error: CairnError | null, outcome: Outcome) => void) => void,
  ): Promise<Outcome> {
    let running = this.#anyNode();
    for (let hops = 0; running !== null && hops < MOST_HOPS; hops++) {
      const answer = arriving(
        running,
        (service) =>
          new Promise<{ error: CairnError | null; outcome: Outcome }>((resolve) =>
            ask(service, (error, outcome) => resolve({ error, outcome })),
          ),
      );
      const result = await Promise.race([answer, this.#patience(null)]);
      if (result === null) return { kind: 'unknown' };
      const { error, outcome } = result;
      if (error === null) return outcome;
      const leader: unknown = error.extra?.['leader'];
      if (error.code !== 'not_leader' || typeof leader !== 'string') return outcomeOf(error);
      running = this.#cluster.hosts.find(({ name }) => name === leader)?.running ?? null;
    }
    return this.#refused();
  }

  #anyNode(): Running | null {
    const { hosts } = this.#cluster;
    if (this.#node !== null) return hosts.find(({ name }) => name === this.#node)?.running ?? null;
    return this.#prng.pick([...hosts]).running;
  }

  #refused(): Promise<Outcome> {
    return this.#scheduler.sleep(5).then(() => ({ kind: 'failed' }));
  }

  #patience<T>(answer: T): Promise<T> {
    return this.#scheduler.sleep(PATIENCE_MS).then(() => answer);
  }
}

/** A request reaches the node when that runs; never when it has died by then. */
function arriving<T>({ machine, service }: Running, ask: (service: Service) => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    machine.events.arrive(() => {
      if (machine.disk.isOff) return;
      // Nobody hears what a dead process would have said.
      ask(service).then(
        (answer) => {
          if (!machine.disk.isOff) resolve(answer);
        },
        (error: unknown) => {
          if (!machine.disk.isOff) reject(error);
        },
      );
    });
  });
}

function serviceCondition(condition: Condition | null): ServiceCondition | null {
  switch (condition?.kind) {
    case undefined:
      return null;
    case 'revision':
      return { revisions: [condition.revision] };
    case 'absent':
      return { absent: true };
    case 'present':
      return { exists: true };
  }
}

function outcomeOf(error: CairnError): Outcome {
  if (error.code === 'precondition_failed') {
    return { kind: 'conflict', revision: Number(error.extra?.['currentRevision'] ?? 0) };
  }
  return error.code === 'deadline_exceeded' ? { kind: 'unknown' } : { kind: 'failed' };
}

import { Agent, request } from 'node:http';
import { outcomeOf } from '../../src/client/errors.js';
import type { Condition, Outcome } from '../sim/checkers/operation.js';
import type { ScanItem } from '../sim/checkers/scan.js';
import type { BatchEntry, ClusterClient, ScanOutcome, ScanRange, StaleOutcome } from '../sim/cluster/cluster-client.js';

/** Longer than a node takes to say 504, so that a node that hangs is told from one that answers. */
const ANSWER_LIMIT_MS = 4000;
const NOT_SENT = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH']);

interface Answer {
  readonly status: number;
  /** X-Cairn-Staleness-Ms, NaN without it. */
  readonly stalenessMs: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/** No answer came. */
class LostError extends Error {
  readonly wasSent: boolean;

  constructor(wasSent: boolean, cause: unknown) {
    super('no answer', { cause });
    this.wasSent = wasSent;
  }
}

interface Item {
  readonly key: string;
  readonly value: string;
  readonly revision: number;
}

/** A client of one node by HTTP. */
export class HttpChaosClient implements ClusterClient {
  readonly #host: string;
  readonly #port: number;
  readonly #agent = new Agent({ keepAlive: true });

  constructor({ host, httpPort }: { readonly host: string; readonly httpPort: number }) {
    this.#host = host;
    this.#port = httpPort;
  }

  put(key: string, value: string, condition: Condition | null): Promise<Outcome> {
    return this.#write('PUT', key, condition, JSON.stringify({ value }), (body) => {
      return { kind: 'written', revision: Number(body['revision']) };
    });
  }

  delete(key: string, condition: Condition | null): Promise<Outcome> {
    return this.#write('DELETE', key, condition, undefined, (body) => {
      return body['deleted'] === true ? { kind: 'deleted', revision: Number(body['revision']) } : { kind: 'nothing' };
    });
  }

  async get(key: string): Promise<Outcome> {
    try {
      const { status, body } = await this.#ask('GET', pathOf(key));
      if (status === 404) return { kind: 'absent' };
      if (status !== 200) return { kind: 'failed' };
      return { kind: 'found', value: String(body['value']), revision: Number(body['revision']) };
    } catch (error) {
      if (error instanceof LostError) return { kind: 'failed' };
      throw error;
    }
  }

  async staleGet(key: string): Promise<StaleOutcome> {
    try {
      const { status, stalenessMs, body } = await this.#ask('GET', `${pathOf(key)}?consistency=stale`);
      if (status === 404) return { kind: 'absent', stalenessMs };
      if (status !== 200) return { kind: 'failed' };
      return { kind: 'found', value: String(body['value']), revision: Number(body['revision']), stalenessMs };
    } catch (error) {
      if (error instanceof LostError) return { kind: 'failed' };
      throw error;
    }
  }

  async batch(entries: readonly BatchEntry[]): Promise<readonly Outcome[]> {
    const values = Object.fromEntries(entries.map(({ key, value }) => [key, value]));
    try {
      const { status, body } = await this.#ask('POST', '/api/v1/kv/batch', JSON.stringify(values));
      if (status !== 200 && status !== 207) return entries.map(() => refusal(body));
      const results = body['results'] as Record<string, Record<string, unknown>>;
      return entries.map(({ key }) => {
        const { error, revision } = results[key] ?? {};
        return revision === undefined
          ? refusal((error ?? {}) as Record<string, unknown>)
          : { kind: 'written', revision: Number(revision) };
      });
    } catch (error) {
      return entries.map(() => lost(error));
    }
  }

  async scan({ startKey, endKey, at, pageLimit }: ScanRange): Promise<ScanOutcome> {
    const parameters = new URLSearchParams({ startKey, limit: String(pageLimit) });
    if (endKey !== null) parameters.set('endKey', endKey);
    if (at !== null) parameters.set('at', String(at));
    const items: ScanItem[] = [];
    let revision = 0;
    try {
      for (;;) {
        const { status, body } = await this.#ask('GET', `/api/v1/kv/range?${parameters.toString()}`);
        if (status !== 200) break;
        revision = Number(body['revision']);
        const page = body['items'] as Item[];
        items.push(...page.map((item) => ({ key: item.key, value: item.value, revision: item.revision })));
        if (body['cursor'] === undefined) return { kind: 'snapshot', at: revision, items, coveredTo: endKey };
        parameters.set('cursor', body['cursor'] as string);
      }
    } catch (error) {
      if (!(error instanceof LostError)) throw error;
    }
    const last = items.at(-1);
    // What came up to there is a scan of a shorter range.
    return last === undefined
      ? { kind: 'failed' }
      : { kind: 'snapshot', at: revision, items, coveredTo: `${last.key}\0` };
  }

  /** Whether range queries are answered at all. */
  async servesScans(): Promise<boolean> {
    const { status } = await this.#ask('GET', '/api/v1/kv/range?startKey=a&limit=1');
    return status !== 501;
  }

  async #write(
    method: string,
    key: string,
    condition: Condition | null,
    body: string | undefined,
    done: (body: Answer['body']) => Outcome,
  ): Promise<Outcome> {
    try {
      const answer = await this.#ask(method, pathOf(key), body, conditionHeader(condition));
      if (answer.status === 200) return done(answer.body);
      return answer.status === 412
        ? { kind: 'conflict', revision: Number(answer.body['currentRevision']) }
        : refusal(answer.body);
    } catch (error) {
      return lost(error);
    }
  }

  #ask(method: string, path: string, text?: string, headers: Record<string, string> = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const sent = request(
        {
          agent: this.#agent,
          host: this.#host,
          port: this.#port,
          method,
          path,
          headers: text === undefined ? headers : { 'content-type': 'application/json', ...headers },
          signal: AbortSignal.timeout(ANSWER_LIMIT_MS),
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', (error) => reject(new LostError(true, error)));
          response.on('end', () => {
            const body = JSON.parse(Buffer.concat(chunks).toString()) as Answer['body'];
            const stalenessMs = Number(response.headers['x-cairn-staleness-ms'] ?? Number.NaN);
            resolve({ status: response.statusCode ?? 0, stalenessMs, body });
          });
        },
      );
      sent.on('error', (error: NodeJS.ErrnoException) => reject(new LostError(!NOT_SENT.has(error.code ?? ''), error)));
      sent.end(text);
    });
  }
}

function pathOf(key: string): string {
  return `/api/v1/kv/${encodeURIComponent(key)}`;
}

function conditionHeader(condition: Condition | null): Record<string, string> {
  switch (condition?.kind) {
    case undefined:
      return {};
    case 'absent':
      return { 'if-none-match': '*' };
    case 'present':
      return { 'if-match': '*' };
    case 'revision':
      return { 'if-match': `"${condition.revision}"` };
  }
}

/** By the code of the problem, as the product's own client takes it. */
function refusal(problem: Readonly<Record<string, unknown>>): Outcome {
  return outcomeOf(String(problem['code'])) === 'unknown' ? { kind: 'unknown' } : { kind: 'failed' };
}

function lost(error: unknown): Outcome {
  if (!(error instanceof LostError)) throw error;
  return error.wasSent ? { kind: 'unknown' } : { kind: 'failed' };
}

import type { ClusterStatus } from '../../server/management/cluster-status.js';
import { NotServingError, UsageError } from '../exit-code.js';
import { overviewOf, type Overview } from './overview.js';

/** Asks all nodes at these addresses. Rejects with a NotServingError when none answers. */
export async function fetchOverview(management: string, timeoutMs: number): Promise<Overview> {
  const endpoints = management
    .split(',')
    .map((endpoint) => endpoint.trim())
    .filter((endpoint) => endpoint !== '');
  const urls = endpoints.map(urlOf);
  const answers: ClusterStatus[] = [];
  const failures: { endpoint: string; reason: string }[] = [];
  await Promise.all(
    urls.map(async (url, i) => {
      try {
        answers.push(await fetchStatus(url, timeoutMs));
      } catch (error) {
        failures.push({ endpoint: endpoints[i]!, reason: reasonOf(error, timeoutMs) });
      }
    }),
  );
  if (answers.length === 0) {
    const reasons = failures.map(({ endpoint, reason }) => `${endpoint}: ${reason}`);
    throw new NotServingError(`no node answered; ${reasons.join('; ')}`);
  }
  const clusters = new Map(answers.map(({ clusterId, nodeId }) => [clusterId, nodeId]));
  if (clusters.size > 1) {
    throw new UsageError(`expected nodes of one cluster, found ${clusters.size}: ${[...clusters.values()].join(', ')}`);
  }
  answers.sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1));
  return overviewOf(answers, failures);
}

function urlOf(endpoint: string): URL {
  const text = /^https?:\/\//.test(endpoint) ? endpoint : `http://${endpoint}`;
  if (!URL.canParse(text)) throw new UsageError(`expected host:port of a management port, found "${endpoint}"`);
  return new URL('/api/v1/cluster', text);
}

async function fetchStatus(url: URL, timeoutMs: number): Promise<ClusterStatus> {
  const answer = await fetch(url, { signal: AbortSignal.timeout(timeoutMs) });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`expected a management port, found one that answers ${answer.status}`);
  const status = JSON.parse(text) as ClusterStatus;
  if (!Array.isArray(status.partitions) || !Array.isArray(status.nodes))
    throw new Error('expected nodes and partitions');
  return status;
}

function reasonOf(error: unknown, timeoutMs: number): string {
  const { name, message, cause } = error as Error;
  if (name === 'TimeoutError') return `no answer within ${timeoutMs} ms`;
  // fetch hides what went wrong one level below; an attempt at several addresses one level deeper.
  const { code, message: below } = (cause ?? {}) as { code?: string; message?: string };
  if (code === 'ECONNREFUSED') return 'nobody listens there';
  if (code?.startsWith('HPE_') === true) return 'expected a management port, found one that does not speak HTTP';
  return below || code || message;
}

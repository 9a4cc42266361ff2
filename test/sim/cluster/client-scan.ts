import type { ScanItem as ServiceItem, Service } from '../../../src/server/service.js';
import type { ScanItem } from '../checkers/scan.js';
import type { ScanOutcome, ScanRange } from './cluster-client.js';

const MAX_PAGE_BYTES = 1 << 20;

interface Page {
  readonly at: number;
  readonly items: readonly ScanItem[];
  readonly done: boolean;
}

/** Asks one node, any for each page, as clients with a cursor do; null when it did not answer. */
export type AskAnyNode = (ask: (service: Service) => Promise<Page>) => Promise<Page | null>;

/** Reads a range page by page at the instant of the first one. */
export async function scanPages(askAnyNode: AskAnyNode, range: ScanRange): Promise<ScanOutcome> {
  const { endKey, pageLimit } = range;
  const items: ScanItem[] = [];
  let { at } = range;
  let { startKey } = range;
  for (;;) {
    const from = startKey;
    const page = await askAnyNode((service) => readPage(service, from, endKey, at ?? 0, pageLimit));
    if (page === null) break;
    at = page.at;
    items.push(...page.items);
    if (page.done) return { kind: 'snapshot', at, items, coveredTo: endKey };
    startKey = `${items.at(-1)!.key}\0`;
  }
  if (at === null || items.length === 0) return { kind: 'failed' };
  return { kind: 'snapshot', at, items, coveredTo: startKey };
}

async function readPage(
  service: Service,
  startKey: string,
  endKey: string | null,
  at: number,
  limit: number,
): Promise<Page> {
  const scan = await service.openScan({
    startKey: Buffer.from(startKey),
    endKey: endKey === null ? null : Buffer.from(endKey),
    reverse: false,
    keysOnly: false,
    at,
  });
  try {
    const found: ServiceItem[] = [];
    while (found.length < limit && !scan.done) found.push(...(await scan.next(limit - found.length, MAX_PAGE_BYTES)));
    const items = found.map(({ key, value, revision }) => ({
      key: Buffer.from(key).toString(),
      value: JSON.parse(Buffer.from(value).toString()) as string,
      revision,
    }));
    return { at: scan.revision, items, done: scan.done };
  } finally {
    scan.close();
  }
}

import { binaryLoad, buildBinaryLoad } from '../runner/binary-load.js';
import { metric, startCairn, type CairnNode } from '../runner/cairn-node.js';
import type { Bench, Figure, Row } from '../runner/row.js';

/** As the load generator makes them. */
const KEY_BYTES = 16;
const VALUE_BYTES = 100;
const BYTES_PER_GB = 1e9;
const SETTLED_POLLS = 10;
const POLL_MS = 1000;

/**
 * Random keys with values that don't compress, as fast as the node takes them, then until flushes and compactions have nothing left to
 * do. What the node says it has written, its log included, over the bytes of keys and values. (The kernel's count for the process is
 * no help: a synced write of some KB counts as the whole large page that it lies in, twenty times what reaches the device.)
 */
async function run({ folder, fillGigabytes, say }: Bench): Promise<readonly Figure[]> {
  buildBinaryLoad();
  const writes = Math.ceil((fillGigabytes * BYTES_PER_GB) / (KEY_BYTES + VALUE_BYTES));
  const node = await startCairn(folder);
  const { perSecond } = await binaryLoad({
    ...{ op: 'put', port: node.clientPort, connections: 16, pipeline: 64, valueBytes: VALUE_BYTES, randomValues: true },
    ...{ keys: writes, requests: writes },
  });
  say(`${writes.toLocaleString('en')} writes at ${Math.round(perSecond).toLocaleString('en')}/s`);
  await settle(node);
  const log = await metric(node, 'cairn_log_written_bytes_total');
  const flushed = await metric(node, 'cairn_flushed_bytes_total');
  const compacted = await metric(node, 'cairn_compaction_written_bytes_total');
  const put = writes * (KEY_BYTES + VALUE_BYTES);
  const gigabytes = (bytes: number): string => (bytes / BYTES_PER_GB).toFixed(2);
  const parts = `log ${gigabytes(log)} GB, flushes ${gigabytes(flushed)} GB, compactions ${gigabytes(compacted)} GB`;
  say(`put ${gigabytes(put)} GB; ${parts}`);
  await node.child.stop();
  const value = (log + flushed + compacted) / put;
  return [
    {
      name: 'write-amplification',
      title: `write amplification, ${fillGigabytes} GB random fill, log included`,
      against: parts,
      value,
      unit: 'x',
      bar: { reach: 12, aim: 8, better: 'lower' },
      ours: { name: 'written', unit: 'GB', rounds: [(log + flushed + compacted) / BYTES_PER_GB] },
      reference: null,
    },
  ];
}

/** Waits until no memtable waits for its flush and no compaction has run for a while. */
async function settle(node: CairnNode): Promise<void> {
  for (let quiet = 0; quiet < SETTLED_POLLS;) {
    const busy = (await metric(node, 'cairn_memtables_frozen')) + (await metric(node, 'cairn_compaction_running'));
    quiet = busy === 0 ? quiet + 1 : 0;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

export const writeAmplification: Row = {
  name: 'write-amplification',
  title: 'bytes written over bytes put, random fill',
  isLong: true,
  run,
};

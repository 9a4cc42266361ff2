import type { CairnNode } from './cairn-node.js';

/** What all rows read and write: 100,000 keys with JSON values of about 100 bytes. */
export const KEY_COUNT = 100_000;

export function valueOf(number: number): { name: string; age: number; pad: string } {
  return { name: `John${number}`, age: number % 90, pad: 'x'.repeat(60) };
}

/** Stores every key, in batches over HTTP. */
export async function preload(node: CairnNode, keyCount = KEY_COUNT): Promise<void> {
  const perBatch = 1000;
  const loadFrom = async (first: number): Promise<void> => {
    const values = Array.from({ length: Math.min(perBatch, keyCount - first) }, (_, i) => [
      `user:${first + i}`,
      valueOf(first + i),
    ]);
    const answer = await fetch(`${node.httpUrl}/api/v1/kv/batch`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(Object.fromEntries(values)),
    });
    if (answer.status !== 200) throw new Error(`batch: expected 200, found ${answer.status}: ${await answer.text()}`);
    await answer.arrayBuffer();
  };
  for (let first = 0; first < keyCount; first += 8 * perBatch) {
    const starts = Array.from({ length: 8 }, (_, i) => first + i * perBatch).filter((start) => start < keyCount);
    await Promise.all(starts.map(loadFrom));
  }
}

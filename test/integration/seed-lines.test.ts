import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { afterwards, SMALL, temporaryDirectory } from './data-directory.js';
import { startServer } from './server-process.js';

const hasCurl = spawnSync('curl', ['--version']).status === 0;

/** One command line as a user types it, but for the port; with the status in a last line. */
function typed(line: string, port: number): Promise<{ status: number; body: unknown }> {
  const command = `${line.replace('localhost:8080', `localhost:${port}`)} -sS --max-time 20 -w '\\n%{http_code}'`;
  return new Promise((resolve, reject) => {
    execFile('sh', ['-c', command], (error, stdout, stderr) => {
      if (error !== null) return reject(new Error(`${command}: ${stderr}`));
      const end = stdout.lastIndexOf('\n');
      resolve({ status: Number(stdout.slice(end + 1)), body: JSON.parse(stdout.slice(0, end)) });
    });
  });
}

test(
  'the first lines that a new user types get the answers of the contract',
  { skip: hasCurl ? false : 'there is no curl' },
  async (t) => {
    const server = await startServer(temporaryDirectory(t), SMALL);
    afterwards(t, () => server.stop('SIGKILL'));
    const run = (line: string): Promise<{ status: number; body: unknown }> => typed(line, server.httpPort);
    const revisionOf = (body: unknown): number => {
      const revision = (body as { revision: unknown }).revision;
      assert.ok(typeof revision === 'number' && Number.isSafeInteger(revision) && revision > 0, JSON.stringify(body));
      return revision;
    };
    const value = '{"name": "John", "age": 30}';

    const written = await run(
      `curl -X PUT http://localhost:8080/api/v1/kv/user:123 -H "Content-Type: application/json" -d '{"value": "{\\"name\\": \\"John\\", \\"age\\": 30}"}'`,
    );
    const revision = revisionOf(written.body);
    assert.deepEqual(written, { status: 200, body: { key: 'user:123', revision } });

    const read = await run('curl http://localhost:8080/api/v1/kv/user:123');
    assert.deepEqual(read, { status: 200, body: { key: 'user:123', value, revision } });

    const rangeLine = 'curl "http://localhost:8080/api/v1/kv/range?startKey=user:1&endKey=user:100"';
    const emptyRange = await run(rangeLine);
    assert.equal(emptyRange.status, 200);
    // user:123 is above user:100 in byte order.
    assert.deepEqual((emptyRange.body as { items: unknown }).items, []);
    const inRange = await run(`curl -X PUT http://localhost:8080/api/v1/kv/user:10 -d '{"value": 1}'`);
    const range = await run(rangeLine);
    assert.deepEqual((range.body as { items: unknown }).items, [
      { key: 'user:10', value: 1, revision: revisionOf(inRange.body) },
    ]);

    const removed = await run('curl -X DELETE http://localhost:8080/api/v1/kv/user:123');
    const removal = revisionOf(removed.body);
    assert.ok(removal > revision);
    assert.deepEqual(removed, { status: 200, body: { key: 'user:123', deleted: true, revision: removal } });
    const gone = await run('curl http://localhost:8080/api/v1/kv/user:123');
    assert.equal(gone.status, 404);
    assert.equal((gone.body as { code: unknown }).code, 'key_not_found');
    const again = await run('curl -X DELETE http://localhost:8080/api/v1/kv/user:123');
    assert.equal(again.status, 200);
    assert.equal((again.body as { deleted: unknown }).deleted, false);

    const batch = await run(
      `curl -X POST http://localhost:8080/api/v1/kv/batch -H "Content-Type: application/json" -d '{"key1": "value1", "key2": "value2"}'`,
    );
    assert.equal(batch.status, 200);
    const { results } = batch.body as { results: Record<string, unknown> };
    assert.deepEqual(Object.keys(results).sort(), ['key1', 'key2']);
    for (const key of ['key1', 'key2']) {
      const stored = await run(`curl http://localhost:8080/api/v1/kv/${key}`);
      const expected = { key, value: key.replace('key', 'value'), revision: revisionOf(results[key]) };
      assert.deepEqual(stored, { status: 200, body: expected });
    }
  },
);

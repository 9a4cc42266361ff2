import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { CairnError } from '../src/base/errors.js';
import { loadConfig, OPTIONS, type OptionName } from '../src/config.js';

function refusal(flags: Record<string, string>, environment: Record<string, string> = {}): string {
  try {
    loadConfig({ flags, environment });
  } catch (error) {
    assert.ok(error instanceof CairnError);
    assert.equal(error.code, 'configuration');
    assert.ok(!error.message.includes('\n'));
    return error.message;
  }
  return assert.fail('not refused');
}

test('the defaults are those of the contract', () => {
  const config = loadConfig({ flags: {}, environment: {} });
  assert.equal(config.nodeId, 'n1');
  assert.equal(config.dataDir, './data');
  assert.equal(config.host, '127.0.0.1');
  assert.equal(config.advertiseHost, '127.0.0.1');
  assert.deepEqual(
    [config.httpPort, config.managementPort, config.clientPort, config.peerPort],
    [8080, 8081, 9090, 9091],
  );
  assert.equal(config.memtableSizeBytes, 100 << 20);
  assert.equal(config.blockCacheSizeBytes, 256 << 20);
  assert.equal(config.historyWindowMs, 600_000);
  assert.equal(config.logLevel, 'info');
});

test('a flag beats the environment, which beats the file, which beats the default', () => {
  const directory = mkdtempSync(join(tmpdir(), 'cairn-config-'));
  try {
    const file = join(directory, 'cairn.yaml');
    writeFileSync(file, 'node-id: from-file\nhttp-port: 1\nclient-port: 3\n');
    const environment = { CAIRN_NODE_ID: 'from-environment', CAIRN_HTTP_PORT: '2' };
    const config = loadConfig({ flags: { 'node-id': 'from-flag' }, environment, file });
    assert.equal(config.nodeId, 'from-flag');
    assert.equal(config.httpPort, 2);
    assert.equal(config.clientPort, 3);
    assert.equal(config.managementPort, 8081);
    writeFileSync(file, 'http-prot: 1\n');
    assert.throws(() => loadConfig({ flags: {}, environment: {}, file }), /unknown option "http-prot"/);
    writeFileSync(file, '- a\n- b\n');
    assert.throws(() => loadConfig({ flags: {}, environment: {}, file }), /expected "option: value" lines/);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('a wrong value is refused with its source, what was expected and what was found', () => {
  assert.match(refusal({ 'http-port': '70000' }), /^--http-port: expected an integer from 0 to 65535, found "70000"/);
  assert.match(
    refusal({}, { CAIRN_HISTORY_WINDOW: 'soon' }),
    /^CAIRN_HISTORY_WINDOW: expected a duration .* found "soon"/,
  );
  assert.match(refusal({ partitions: '65' }), /^--partitions: expected a power of two/);
  assert.match(refusal({ 'log-level': 'loud' }), /^--log-level: expected one of trace, .* found "loud"/);
  assert.match(refusal({ 'no-such': 'x' }), /^unknown option --no-such/);
});

test('the members of a cluster are read in any order, and malformed ones are refused', () => {
  const { cluster } = loadConfig({ flags: { 'node-id': 'n2', cluster: 'n2=b:9191, n1=[::1]:9091' }, environment: {} });
  assert.deepEqual(cluster, [
    { nodeId: 'n1', host: '::1', port: 9091 },
    { nodeId: 'n2', host: 'b', port: 9191 },
  ]);
  assert.match(refusal({ cluster: 'n1=a:9091,n2' }), /^--cluster: expected members as n1=host:9091.*found "n2"/);
  assert.match(refusal({ cluster: 'n1=a:9091,n2=b:70000' }), /^--cluster: .*found "n2=b:70000"/);
  assert.match(refusal({ cluster: 'n1=a:9091,n1=b:9091' }), /^--cluster: expected each node once, found "n1" again/);
  assert.match(refusal({ cluster: 'n1=a:9091,n2=a:9091' }), /^--cluster: .*found a:9091 again/);
  assert.match(refusal({ cluster: 'n2=a:9091,n3=b:9091' }), /^--cluster: expected this node, "n1" .* found n2, n3/);
});

test('joining a cluster is refused instead of ignored', () => {
  assert.match(refusal({ join: 'a:9091' }), /^--join/);
});

test('every option has a help text', () => {
  for (const name of Object.keys(OPTIONS) as OptionName[]) assert.ok(OPTIONS[name].help.length > 10, name);
});

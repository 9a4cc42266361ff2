import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { Option, type Command } from 'commander';
import { build } from 'hdr-histogram-js';
import { NodeSyncDisk } from '../platform/node-disk.js';
import { httpLibrary } from '../server/http/uws.js';
import { addOutputOption, type OutputOptions } from './connection-options.js';
import { wholeNumber } from './numbers.js';
import { colour, table, write, type Terminal } from './output.js';

interface Finding {
  readonly check: string;
  readonly status: 'ok' | 'warn' | 'fail';
  readonly detail: string;
}

type Options = OutputOptions & {
  readonly dataDir: string;
  readonly host: string;
  readonly ports: string;
  readonly syncs: number;
};

const GIBIBYTE = 2 ** 30;
const SLOW_SYNC_P99_MS = 20;
const LITTLE_SPACE_BYTES = 2 * GIBIBYTE;
const PROBE_BYTES = 1 << 20;
const SECTOR_BYTES = 4096;

export function addDoctorCommand(program: Command, terminal: Terminal): void {
  const doctor = program
    .command('doctor')
    .description('look at what a node needs of this machine: disk, clock, ports, libraries')
    .addOption(new Option('--data-dir <path>', 'where the node keeps its data').env('CAIRN_DATA_DIR').default('./data'))
    .option('--host <host>', 'the address that the ports are for', '127.0.0.1')
    .option('--ports <list>', 'ports that must be free, separated by commas', '8080,8081,9090,9091')
    .addOption(new Option('--syncs <count>', 'synced writes to time').default(200).argParser(wholeNumber(1)))
    .addHelpText(
      'after',
      `
Exit code 1 when something would keep a node from running. A running node holds its ports: that is a warning only.

Examples:
  cairn doctor
  cairn doctor --data-dir /var/lib/cairn -o json`,
    )
    .action((options: Options) => runDoctor(terminal, options));
  addOutputOption(doctor);
  doctor.setOptionValueWithSource('output', 'table', 'default');
}

async function runDoctor(terminal: Terminal, options: Options): Promise<void> {
  const findings: Finding[] = [
    nodeVersion(),
    glibc(),
    uws(),
    ...disk(options.dataDir, options.syncs),
    clock(),
    ...(await Promise.all(options.ports.split(',').map((port) => portFinding(options.host, Number(port))))),
  ];
  if (options.output === 'json') await write(terminal, `${JSON.stringify(findings)}\n`);
  else if (options.output === 'raw')
    await write(terminal, findings.map((f) => `${f.status}\t${f.check}\t${f.detail}\n`).join(''));
  else
    await write(
      terminal,
      table(
        ['CHECK', 'STATUS', 'DETAIL'],
        findings.map((f) => [f.check, f.status, f.detail]),
      ),
    );
  const failed = findings.filter(({ status }) => status === 'fail');
  if (failed.length > 0)
    throw new Error(
      `${failed.length} ${failed.length === 1 ? 'check' : 'checks'} failed: ${failed.map((f) => f.check).join(', ')}`,
    );
  terminal.stderr.write(`${colour(terminal, 'green', 'A node can run here.')}\n`);
}

function nodeVersion(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const ok = major > 20 || (major === 20 && minor >= 19);
  return {
    check: 'node',
    status: ok ? 'ok' : 'fail',
    detail: `${process.version}${ok ? '' : '; 20.19 or newer is needed'}`,
  };
}

function glibc(): Finding {
  const report = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  const version = report.header?.glibcVersionRuntime;
  if (version !== undefined) return { check: 'glibc', status: 'ok', detail: version };
  const isLinux = process.platform === 'linux';
  return {
    check: 'glibc',
    status: isLinux ? 'fail' : 'ok',
    detail: isLinux ? 'none; musl is not supported' : process.platform,
  };
}

function uws(): Finding {
  try {
    return { check: 'http library', status: 'ok', detail: httpLibrary() };
  } catch (error) {
    return { check: 'http library', status: 'fail', detail: (error as Error).message };
  }
}

/** Times synced writes where the log will be, in a file of its own that is removed again. */
function disk(dataDir: string, syncs: number): Finding[] {
  const system = new NodeSyncDisk();
  // A check leaves nothing behind: without a data directory yet, the nearest one above it is on the same disk.
  let directory = path.resolve(dataDir);
  while (!system.exists(directory)) directory = path.dirname(directory);
  const probe = path.join(directory, `.cairn-doctor-${process.pid}`);
  try {
    const freeBytes = system.freeBytes(directory);
    const space: Finding = {
      check: 'free space',
      status: freeBytes < LITTLE_SPACE_BYTES ? 'warn' : 'ok',
      detail: `${(freeBytes / GIBIBYTE).toFixed(1)} GiB in ${directory}`,
    };
    const file = system.open(probe, 'create');
    try {
      file.write(new Uint8Array(PROBE_BYTES), 0);
      file.sync();
    } finally {
      file.close();
    }
    return [syncLatency(system, probe, syncs), space];
  } catch (error) {
    return [{ check: 'disk', status: 'fail', detail: (error as Error).message }];
  } finally {
    if (system.exists(probe)) system.remove(probe);
  }
}

function syncLatency(system: NodeSyncDisk, probe: string, syncs: number): Finding {
  const histogram = build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: 60_000_000,
    numberOfSignificantValueDigits: 3,
  });
  const file = system.open(probe, 'dsync');
  const sector = new Uint8Array(SECTOR_BYTES).fill(1);
  try {
    for (let i = 0; i < syncs; i++) {
      const start = performance.now();
      file.write(sector, (i * SECTOR_BYTES) % PROBE_BYTES);
      histogram.recordValue(Math.round((performance.now() - start) * 1000));
    }
  } finally {
    file.close();
  }
  const [p50, p99] = [50, 99].map((percent) => histogram.getValueAtPercentile(percent) / 1000);
  return {
    check: 'synced write',
    status: p99! > SLOW_SYNC_P99_MS ? 'warn' : 'ok',
    detail: `p50 ${p50!.toFixed(2)} ms, p99 ${p99!.toFixed(2)} ms over ${syncs} writes of ${SECTOR_BYTES} bytes`,
  };
}

/** Revisions hold milliseconds since 2025; a clock before that makes a node count on from its last revision. */
function clock(): Finding {
  const now = new Date();
  const source = linuxFile('/sys/devices/system/clocksource/clocksource0/current_clocksource');
  const ok = now.getUTCFullYear() >= 2025 && now.getUTCFullYear() < 2094;
  return {
    check: 'clock',
    status: ok ? 'ok' : 'fail',
    detail: `${now.toISOString()}${source === '' ? '' : `, source ${source}`}`,
  };
}

function linuxFile(name: string): string {
  try {
    return readFileSync(name, 'utf8').trim();
  } catch {
    return '';
  }
}

function portFinding(host: string, port: number): Promise<Finding> {
  return new Promise((resolve) => {
    const check = `port ${port}`;
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      const taken = error.code === 'EADDRINUSE';
      resolve({ check, status: taken ? 'warn' : 'fail', detail: taken ? `taken on ${host}` : error.message });
    });
    server.listen({ host, port, exclusive: true }, () =>
      server.close(() => resolve({ check, status: 'ok', detail: `free on ${host}` })),
    );
  });
}

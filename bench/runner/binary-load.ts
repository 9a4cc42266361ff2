import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { isInstalled, root, runTool } from './child.js';
import { Unavailable } from './row.js';

/** Load on the binary protocol, from the generator in C: one in Node would be the limit before the server is. */
export interface BinaryLoad {
  readonly op: 'get' | 'put';
  /** Several: connections are spread over them. */
  readonly port: number | readonly number[];
  readonly connections: number;
  /** Requests under way on each connection. */
  readonly pipeline: number;
  readonly seconds?: number;
  /** Open loop: so many requests a second are due whatever the answers do, and latency counts from when one was due. */
  readonly ratePerSecond?: number;
  readonly requests?: number;
  readonly keys: number;
  /** Keys 0, 1, 2 ... instead of random ones. */
  readonly sequential?: boolean;
  /** Of a put; 100 when not given. */
  readonly valueBytes?: number;
  /** Values that can't be compressed, instead of one that all but vanishes when it is. */
  readonly randomValues?: boolean;
  /** For a server that knows no hello. */
  readonly noHello?: boolean;
}

export interface BinaryLoadResult {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

const source = path.join(root, 'bench/load/cairn-load.c');
const program = path.join(root, '.build/bench/cairn-load');

/** Compiles the generator when it is older than its source. Throws Unavailable where there is no C compiler. */
export function buildBinaryLoad(): void {
  if (fs.existsSync(program) && fs.statSync(program).mtimeMs >= fs.statSync(source).mtimeMs) return;
  if (!isInstalled('cc')) throw new Unavailable('the load generator needs a C compiler (cc), found none');
  fs.mkdirSync(path.dirname(program), { recursive: true });
  const { status, stderr } = spawnSync('cc', ['-O2', '-o', program, source], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`cc could not compile ${source}:\n${stderr}`);
}

export async function binaryLoad(load: BinaryLoad): Promise<BinaryLoadResult> {
  buildBinaryLoad();
  const args = [
    ...['--port', String(load.port), '--op', load.op, '--keys', String(load.keys)],
    ...['--connections', String(load.connections), '--pipeline', String(load.pipeline)],
    ...['--requests', String(load.requests ?? 1_000_000_000)],
    ...(load.ratePerSecond === undefined ? [] : ['--rate', String(load.ratePerSecond)]),
    ...(load.seconds === undefined ? [] : ['--seconds', String(load.seconds)]),
    ...(load.sequential === true ? ['--sequential'] : []),
    ...(load.valueBytes === undefined ? [] : ['--value-bytes', String(load.valueBytes)]),
    ...(load.randomValues === true ? ['--random-values'] : []),
    ...(load.noHello === true ? ['--no-hello'] : []),
  ];
  const result = JSON.parse(await runTool(program, args)) as BinaryLoadResult & { errors: number; absent: number };
  if (result.errors > 0 || result.absent > 0) {
    throw new Error(
      `${load.op}: expected every answer to succeed, found ${result.errors} errors and ${result.absent} absent`,
    );
  }
  return result;
}

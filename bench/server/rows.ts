import type { Row } from '../runner/row.js';
import { binaryGetPlain, binaryGetRedis } from './binary-get.js';
import { binaryPut } from './binary-put.js';
import { engine } from './engine.js';
import { httpGet } from './http-get.js';
import { httpPut } from './http-put.js';
import { logSync } from './log-sync.js';
import { loopDelay } from './loop-delay.js';
import { memory } from './memory.js';
import { restart } from './restart.js';
import { tailLatency } from './tail-latency.js';
import { threeNodes } from './three-nodes.js';
import { writeAmplification } from './write-amplification.js';

/** In the order in which they run. */
export const rows: readonly Row[] = [
  httpGet,
  httpPut,
  binaryGetRedis,
  binaryGetPlain,
  binaryPut,
  engine,
  logSync,
  loopDelay,
  tailLatency,
  restart,
  memory,
  ...threeNodes,
  writeAmplification,
];

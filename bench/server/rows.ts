import type { Row } from '../runner/row.js';
import { binaryGetPlain, binaryGetRedis } from './binary-get.js';
import { binaryPut } from './binary-put.js';
import { httpGet } from './http-get.js';
import { httpPut } from './http-put.js';
import { loopDelay } from './loop-delay.js';
import { memory } from './memory.js';
import { restart } from './restart.js';
import { tailLatency } from './tail-latency.js';

/** In the order in which they run. */
export const rows: readonly Row[] = [
  httpGet,
  httpPut,
  binaryGetRedis,
  binaryGetPlain,
  binaryPut,
  loopDelay,
  tailLatency,
  restart,
  memory,
];

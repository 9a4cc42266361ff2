import type { Row } from '../runner/row.js';
import { httpGet } from './http-get.js';
import { httpPut } from './http-put.js';

/** In the order in which they run. */
export const rows: readonly Row[] = [httpGet, httpPut];

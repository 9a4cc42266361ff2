/** The published entry `cairn-kv/client`, and the composition root of the client. */
import { HoldingClock } from '../platform/holding-clock.js';
import { NodeNetwork } from '../platform/node-network.js';
import { NodeRandom } from '../platform/node-random.js';
import { BinaryClient, type ClientOptions } from './client.js';

export class CairnClient extends BinaryClient {
  constructor(options: ClientOptions) {
    super(options, {
      network: new NodeNetwork({ connectTimeoutMs: options.connectTimeoutMs ?? 5000 }),
      clock: new HoldingClock(),
      random: new NodeRandom(),
    });
  }
}

export type {
  BatchOperation,
  BatchResult,
  CallOptions,
  ClientOptions,
  Entry,
  Key,
  PutOptions,
  PutRawOptions,
  RangeItem,
  RangeOptions,
  RawEntry,
  RawRangeItem,
  ReadOptions,
  WriteOptions,
} from './client.js';
export {
  AuthError,
  ClientError,
  ConflictError,
  DeadlineError,
  HistoryGoneError,
  InvalidRequestError,
  UnavailableError,
  type Outcome,
} from './errors.js';

import { CairnError, type ErrorCode } from '../base/errors.js';
import { decodePeerMessage, peerWire } from './peer-protocol.js';

/** See InstantStep in proto/peer.proto. */
export type InstantStep = 'raise' | 'lift' | 'confirm' | 'release' | 'reach' | 'now';

/** Which fields a step uses is said in proto/peer.proto; the others are 0 or empty. */
export interface InstantRequest {
  readonly step: InstantStep;
  readonly revision: number;
  readonly hold: number;
  readonly holdMs: number;
  readonly partitions: readonly number[];
}

export interface InstantAnswer {
  readonly hold: number;
  readonly revision: number;
  readonly settled: boolean;
  readonly indexes: readonly number[];
}

export const NO_INSTANT_ANSWER: InstantAnswer = { hold: 0, revision: 0, settled: false, indexes: [] };

const STEPS: readonly (readonly [InstantStep, number])[] = [
  ['raise', peerWire.InstantStep.RAISE],
  ['lift', peerWire.InstantStep.LIFT],
  ['confirm', peerWire.InstantStep.CONFIRM],
  ['release', peerWire.InstantStep.RELEASE],
  ['reach', peerWire.InstantStep.REACH],
  ['now', peerWire.InstantStep.NOW],
];
const NUMBER_OF = new Map(STEPS);
const STEP_OF = new Map(STEPS.map(([step, number]) => [number, step]));

/** What may be answered; an error with another code comes back as `internal`. */
const ERROR_CODES: ReadonlySet<string> = new Set<ErrorCode>([
  'not_leader',
  'not_ready',
  'unavailable',
  'overloaded',
  'shutting_down',
  'deadline_exceeded',
  'protocol_error',
]);

export function encodeInstantRequest(request: InstantRequest): Uint8Array {
  const { step, revision, hold, holdMs, partitions } = request;
  const number = NUMBER_OF.get(step)!;
  return peerWire.InstantRequest.encode({ step: number, revision, hold, holdMs, partitions: [...partitions] }).finish();
}

/** Throws `protocol_error`. */
export function decodeInstantRequest(bytes: Uint8Array): InstantRequest {
  const fields = decodePeerMessage(peerWire.InstantRequest, bytes);
  const step = STEP_OF.get(fields.step);
  if (step === undefined) throw new CairnError('protocol_error', `expected a step of a read, found ${fields.step}`);
  const { revision, hold, holdMs, partitions } = fields;
  return { step, revision, hold, holdMs, partitions };
}

export function encodeInstantAnswer({ hold, revision, settled, indexes }: InstantAnswer): Uint8Array {
  return peerWire.InstantAnswer.encode({ hold, revision, settled, indexes: [...indexes] }).finish();
}

export function encodeInstantRefusal({ code, message }: CairnError): Uint8Array {
  return peerWire.InstantAnswer.encode({ errorCode: code, errorText: message }).finish();
}

/** Throws the error that was answered, or `protocol_error`. */
export function decodeInstantAnswer(bytes: Uint8Array): InstantAnswer {
  const { hold, revision, settled, indexes, errorCode, errorText } = decodePeerMessage(peerWire.InstantAnswer, bytes);
  if (errorCode) {
    const code = ERROR_CODES.has(errorCode) ? (errorCode as ErrorCode) : 'internal';
    throw new CairnError(code, errorText);
  }
  return { hold, revision, settled, indexes };
}

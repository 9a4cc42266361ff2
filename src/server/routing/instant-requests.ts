import { CairnError } from '../../base/errors.js';
import type { InstantHolds } from '../../cluster/instants/instant-holds.js';
import { HOLD_ENDED, type AskNode } from '../../cluster/instants/instant-round.js';
import { encodeForwardHeaderFrame } from '../../codec/client-protocol.js';
import {
  decodeInstantAnswer,
  decodeInstantRequest,
  encodeInstantAnswer,
  encodeInstantRefusal,
  encodeInstantRequest,
} from '../../codec/instant-protocol.js';
import type { Peers } from './partition-map.js';

/** Asks leaders on other nodes for their part in an instant, in the header of an envelope without requests. */
export function instantAsker(peers: Peers): AskNode {
  return async (nodeId, request, timeoutMs) => {
    const body = encodeForwardHeaderFrame(timeoutMs, encodeInstantRequest(request));
    return decodeInstantAnswer(await peers.request(nodeId, body, timeoutMs).catch(unanswered));
  };
}

/** That nobody knows what became of the request is no matter here, and is not to be taken for what a leader says: its hold has ended. */
function unanswered(error: unknown): never {
  if (!(error instanceof CairnError) || error.code !== HOLD_ENDED) throw error;
  throw new CairnError('unavailable', error.message, { cause: error });
}

/** The other end. Never rejects, but for what must end the process. */
export async function answerInstant(holds: Pick<InstantHolds, 'handle'>, request: Uint8Array): Promise<Uint8Array> {
  try {
    return encodeInstantAnswer(await holds.handle(decodeInstantRequest(request)));
  } catch (error) {
    if (!(error instanceof CairnError)) throw error;
    return encodeInstantRefusal(error);
  }
}

import type { CairnError } from '../../base/errors.js';

/** Why an end closes a connection; also on the wire, where a later version may send others. */
export type RefusalCode =
  /** Not the peer protocol. */
  | 'magic'
  | 'version'
  | 'cluster'
  /** The connection leads back to this node, or to one that has its id. */
  | 'self'
  /** Another node answers at this address. */
  | 'wrong_node'
  /** The host does not want this node. */
  | 'not_admitted'
  /** Another data directory is connected under this node id. */
  | 'incarnation'
  | 'purpose'
  | 'corruption'
  | 'too_large'
  | 'protocol'
  /** Not in time. */
  | 'late'
  | 'busy'
  | 'aborted';

export interface Refusal {
  readonly code: RefusalCode;
  readonly text: string;
}

/** What a fault in received bytes means for their connection. */
export function refusalOf({ code, message }: CairnError): Refusal {
  return { code: code === 'corruption' || code === 'too_large' ? code : 'protocol', text: message };
}

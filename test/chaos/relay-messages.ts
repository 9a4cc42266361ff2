/** What happens to bytes on their way from one node to another. */
export interface LinkRule {
  readonly from: string;
  readonly to: string;
  /** Held until it is undone, as TCP would send them again. */
  readonly cut: boolean;
  readonly delayMs: number;
  /** The share of chunks that come as late as when a packet was lost. */
  readonly stallShare: number;
}

/** To the relay process. */
export type RelayOrder =
  | { readonly kind: 'open'; readonly node: string; readonly host: string; readonly target: RelayTarget }
  | { readonly kind: 'rules'; readonly rules: readonly LinkRule[] }
  | { readonly kind: 'drop' };

/** Where a node takes its peers' connections. */
export interface RelayTarget {
  readonly host: string;
  readonly port: number;
}

/** From it. */
export interface RelayOpened {
  readonly node: string;
  readonly port: number;
}

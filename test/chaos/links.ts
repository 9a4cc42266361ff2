/** The network between the nodes, and what can be done to it. Clients reach every node whatever is done. */
export interface Links {
  /** How faults are made, for people. */
  readonly description: string;
  /** Nothing that `from` sends reaches `to`. */
  cut(from: string, to: string): Promise<void>;
  /** All that the node sends to others comes so much later. */
  delay(node: string, delayMs: number): Promise<void>;
  /** The share of what comes to the node or from it that is lost, and so comes late. */
  lose(node: string, share: number): Promise<void>;
  heal(): Promise<void>;
}

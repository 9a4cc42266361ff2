/**
 * Counts what a run reached (elections, truncations, torn tails). A run that missed something it was made for shows nothing,
 * so `assertAll` fails while a required counter is zero.
 */
export class Reached {
  readonly #counts = new Map<string, number>();
  readonly #required: readonly string[];

  constructor(required: readonly string[] = []) {
    this.#required = required;
    for (const name of required) this.#counts.set(name, 0);
  }

  count(name: string, by = 1): void {
    this.#counts.set(name, this.get(name) + by);
  }

  get(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  /** Adds another run's counts. */
  add(other: Reached): void {
    for (const [name, count] of other.#counts) this.count(name, count);
  }

  missing(): string[] {
    return this.#required.filter((name) => this.get(name) === 0);
  }

  assertAll(): void {
    const missing = this.missing();
    if (missing.length > 0) throw new Error(`never reached: ${missing.join(', ')}\n${this.table()}`);
  }

  /** By name. */
  counts(): [string, number][] {
    return [...this.#counts].sort(([a], [b]) => (a < b ? -1 : 1));
  }

  /** One line a counter, by name. */
  table(): string {
    const rows = this.counts();
    const width = Math.max(0, ...rows.map(([name]) => name.length));
    return rows.map(([name, count]) => `${name.padEnd(width)}  ${count}`).join('\n');
  }
}

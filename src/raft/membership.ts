import { assert } from '../base/assert.js';
import { mutated } from '../base/mutations.js';
import { decodeConfiguration } from './configuration-codec.js';
import { NO_CONFIGURATION, type Configuration } from './configuration.js';
import type { Entry, MemberId } from './entry.js';

/** A configuration and the index of the entry that it comes from. */
export interface ConfigurationAt {
  readonly index: number;
  readonly configuration: Configuration;
}

/**
 * The configurations of a log. A configuration is in force from the moment its entry is *appended*, committed or not, as in
 * Ongaro's thesis (4.1), not when it is applied as in etcd: then it is a function of the log alone, so no lag of apply and no
 * order of events after a restart can make two replicas with the same log count differently, and an old majority that is gone
 * can't keep a joint change from being finished. The price is that a truncation takes configurations back; it can't
 * reach below the commit index, so the newest applied one and those above it are kept here.
 */
export class Membership {
  /** Ascending by index; the last one is in force. */
  #history: ConfigurationAt[];

  constructor(start: ConfigurationAt) {
    this.#history = [start];
  }

  get current(): Configuration {
    return this.#history[this.#history.length - 1]!.configuration;
  }

  get currentIndex(): number {
    return this.#history[this.#history.length - 1]!.index;
  }

  /** The configuration in force at `index`; undefined when newer ones are all that is known. */
  at(index: number): ConfigurationAt | undefined {
    return this.#history.findLast((known) => known.index <= index);
  }

  append(entry: Entry): void {
    assert(entry.index > this.currentIndex, 'configuration entries come in index order');
    this.#history.push({ index: entry.index, configuration: decodeConfiguration(entry.data) });
  }

  truncateFrom(index: number): void {
    if (mutated('raft-configuration-kept')) return;
    while (this.currentIndex >= index && this.#history.length > 1) this.#history.pop();
    assert(this.currentIndex < index, 'a configuration below the commit index stays');
  }

  /** Everything up to `index` is applied: only the newest configuration there is still needed. */
  forgetBelow(index: number): void {
    while (this.#history.length > 1 && this.#history[1]!.index <= index) this.#history.shift();
  }

  reset(start: ConfigurationAt): void {
    this.#history = [start];
  }

  /**
   * Whether `id` may stand for election: a voter, also one that an uncommitted entry removes. Nobody else may have that entry,
   * and then only its holder can win (thesis, 4.2.2).
   */
  mayStand(id: MemberId, commit: number): boolean {
    if (this.current.isVoter(id)) return true;
    return this.currentIndex > commit && (this.at(commit)?.configuration ?? NO_CONFIGURATION).isVoter(id);
  }
}

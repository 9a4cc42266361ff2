import { assert } from '../base/assert.js';
import { mutated } from '../base/mutations.js';
import type { Core } from './core.js';
import { entryBytes, type Entry, type MemberId } from './entry.js';
import type { AppendReject } from './message.js';
import { Progress } from './progress.js';
import { UNKNOWN_TERM } from './term-runs.js';

/** The longest wait between two snapshots for a member that takes none, in election timeouts: 30 s. */
const MOST_TIMEOUTS = 30;

/** Brings a leader's log to the other members: what to send to whom, and what their answers say. */
export class Replicator {
  readonly #core: Core;
  /** All members but this one, learners included. */
  readonly members = new Map<MemberId, Progress>();
  /** Ticks for which something waited to be committed and nothing was. */
  #stuckTicks = 0;
  #lastCommit = 0;

  constructor(core: Core) {
    this.#core = core;
    this.configurationChanged();
  }

  configurationChanged(): void {
    const { configuration, id: self, log } = this.#core;
    for (const id of this.members.keys()) if (!configuration.has(id)) this.members.delete(id);
    for (const { id, nodeId } of configuration.members) {
      if (id !== self && !this.members.has(id)) this.members.set(id, new Progress(id, nodeId, log.lastIndex + 1));
    }
  }

  /** Sends everything that the windows allow. Once a loop turn, so that its proposals share messages. */
  flush(): void {
    for (const progress of this.members.values()) {
      if (progress.state === 'probe') this.#sendProbe(progress);
      else if (progress.state === 'replicate') this.#sendEntries(progress);
    }
  }

  #sendProbe(progress: Progress): void {
    if (progress.paused || !this.#reaches(progress)) return;
    const { log, options } = this.#core;
    const entries = progress.next <= log.lastIndex ? log.slice(progress.next, options.maxAppendBytes) : [];
    this.#send(progress, progress.next - 1, entries);
  }

  #sendEntries(progress: Progress): void {
    const { log, options, commit } = this.#core;
    let sent = false;
    while (progress.next <= log.lastIndex && !this.#isFull(progress)) {
      if (!this.#reaches(progress)) return;
      this.#send(progress, progress.next - 1, log.slice(progress.next, options.maxAppendBytes));
      sent = true;
    }
    if (sent || progress.sentCommit >= commit) return;
    const { group, id, term } = this.#core;
    progress.sentCommit = commit;
    this.#core.send({ type: 'commit', group, from: id, to: progress.id, term, commit });
  }

  #isFull({ sentMessages, sentBytes }: Progress): boolean {
    const { maxSentMessages, maxSentBytes } = this.#core.options;
    return sentMessages >= maxSentMessages || sentBytes >= maxSentBytes;
  }

  /** Whether the next entries are in memory; else asks the host for them, or for a snapshot when they are compacted. */
  #reaches(progress: Progress): boolean {
    const { log, options, loads } = this.#core;
    const { next, id } = progress;
    if (next <= log.baseIndex || log.term(next - 1) === UNKNOWN_TERM) {
      this.#needsSnapshot(progress);
      return false;
    }
    if (next >= log.memoryFirst) return true;
    // The window is for what is in memory already; what is read for this member alone waits until it has taken the last of it.
    if (progress.loadingFrom === 0 && progress.sentBytes < options.maxAppendBytes) {
      progress.loadingFrom = next;
      loads.push({ follower: id, from: next, to: log.memoryFirst - 1, maxBytes: options.maxAppendBytes });
    }
    return false;
  }

  /** The host's answer to a load request; null: they are gone from its log. */
  loaded(id: MemberId, from: number, entries: readonly Entry[] | null): void {
    const progress = this.members.get(id);
    if (progress === undefined || progress.loadingFrom !== from) return;
    progress.loadingFrom = 0;
    if (progress.state === 'snapshot' || progress.next !== from || progress.paused) return;
    if (entries === null) {
      this.#needsSnapshot(progress);
      return;
    }
    const { log } = this.#core;
    if (log.term(from - 1) === UNKNOWN_TERM) return;
    for (const [i, { index, term }] of entries.entries()) {
      assert(index === from + i && term === log.term(index), `entry ${from + i} was loaded as it is in the log`);
    }
    if (entries.length > 0) this.#send(progress, from - 1, entries);
  }

  #needsSnapshot(progress: Progress): void {
    progress.becomeSnapshot();
    this.#core.snapshotsTo.push(progress.id);
  }

  #send(progress: Progress, prevIndex: number, entries: readonly Entry[]): void {
    const { group, id, term, commit, log } = this.#core;
    const prevTerm = log.term(prevIndex);
    assert(prevTerm !== UNKNOWN_TERM, `entry ${prevIndex} has a term`);
    this.#core.send({ type: 'append', group, from: id, to: progress.id, term, prevIndex, prevTerm, commit, entries });
    progress.sentCommit = commit;
    let bytes = 0;
    for (const entry of entries) bytes += entryBytes(entry);
    if (entries.length > 0 || progress.state === 'probe') progress.sent(prevIndex + entries.length, bytes);
  }

  /** An empty append whose answer says whether the member holds `prevIndex`. Outside of the window. */
  #ask(progress: Progress, prevIndex: number): void {
    if (this.#core.log.term(prevIndex) !== UNKNOWN_TERM) this.#send(progress, prevIndex, []);
    // Compacted while the member was away: probing finds out that it needs a snapshot.
    else progress.becomeProbe(progress.match + 1);
  }

  /** The member's disk holds the log up to `index`. True when that may move the commit index. */
  acknowledged(progress: Progress, index: number): boolean {
    const { log } = this.#core;
    assert(index <= log.lastIndex, `member ${progress.id} acknowledges ${index}; the log ends at ${log.lastIndex}`);
    const moved = progress.matched(index);
    if (progress.state === 'probe' && index >= progress.next - 1) progress.becomeReplicate();
    // An acknowledgement that says nothing new tells nothing of the snapshot.
    else if (moved && progress.state === 'snapshot' && index >= log.baseIndex) progress.becomeProbe(index + 1);
    return moved;
  }

  rejected(progress: Progress, { rejectedIndex, hintIndex, hintTerm, lost }: AppendReject): void {
    const { log, options } = this.#core;
    if (lost) progress.repairTicks = options.electionTicks;
    // Where both logs have the hint's term at most; or below this log's base.
    const hint = Math.min(hintIndex, log.highestAtOrBelow(hintIndex, hintTerm));
    if (lost && hint < progress.match) {
      // Raft rule 15: it no longer holds what it acknowledged, so that must not count for what is not committed yet.
      progress.match = hint;
      progress.becomeProbe(hint + 1);
      return;
    }
    if (!mutated('raft-conflict-stuck')) progress.rejected(rejectedIndex, hint);
  }

  /** A heartbeat was answered: messages get through, and what was lost before it is made up for. */
  heartbeatAnswered(progress: Progress, index: number): void {
    if (progress.state === 'probe') progress.paused = false;
    if (progress.state !== 'replicate') return;
    // After a restart it does not know how much of its log is this leader's.
    if (index < progress.match) this.#ask(progress, progress.match);
    // An append or its answer was lost, or is still under way: a member that lacks it will say so.
    else if (progress.match < progress.next - 1) this.#ask(progress, progress.next - 1);
  }

  unreachable(id: MemberId): void {
    const progress = this.members.get(id);
    if (progress?.state === 'replicate') progress.becomeProbe(progress.match + 1);
  }

  /**
   * A snapshot has arrived or failed. The member's next answer says which; if none does within a while, look again: twice as late each
   * time that a member which is there took nothing.
   */
  snapshotReported(id: MemberId, wasBegun: boolean): void {
    const progress = this.members.get(id);
    if (progress?.state !== 'snapshot') return;
    const { electionTicks } = this.#core.options;
    progress.retryTicks = electionTicks * Math.min(2 ** progress.refusedSnapshots, MOST_TIMEOUTS);
    if (progress.silentTicks > electionTicks) progress.refusedSnapshots = 0;
    else if (wasBegun && !mutated('raft-snapshot-hammered')) progress.refusedSnapshots++;
  }

  tick(): void {
    const { commit, log, options } = this.#core;
    this.#stuckTicks = commit < log.lastIndex && commit === this.#lastCommit ? this.#stuckTicks + 1 : 0;
    this.#lastCommit = commit;
    const isStuck = this.#stuckTicks > options.electionTicks;
    for (const progress of this.members.values()) {
      progress.silentTicks++;
      if (progress.repairTicks > 0) progress.repairTicks--;
      // It may be this very member that the quorum lacks.
      if (isStuck && progress.retryTicks > options.electionTicks) progress.retryTicks = options.electionTicks;
      if (progress.state !== 'snapshot' || progress.retryTicks === 0 || --progress.retryTicks > 0) continue;
      progress.becomeProbe(progress.match + 1);
      this.#core.changed = true;
    }
  }
}

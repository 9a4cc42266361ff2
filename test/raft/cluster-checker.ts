import assert from 'node:assert/strict';
import type { Entry, MemberId } from '../../src/raft/entry.js';
import type { Message } from '../../src/raft/message.js';
import type { Configuration } from '../../src/raft/configuration.js';
import type { ReadState, Ready } from '../../src/raft/ready.js';
import { diskHolds, mix, type MachineState, type MemoryDisk, type MemoryHost } from './memory-host.js';

/** Watches a cluster from above: sees all replicas and disks at once and knows what was promised. */
export class ClusterChecker {
  readonly #hosts: ReadonlyMap<MemberId, MemoryHost>;
  /** By term. */
  readonly #leaders = new Map<number, MemberId>();
  /** By index: what was committed first, and the state machine after it. */
  readonly #committed = new Map<number, { readonly term: number; readonly content: number }>();
  readonly #states = new Map<number, number>();
  readonly #commits = new Map<MemberId, number>();
  /** By member and term: whom it voted for. */
  readonly #votes = new Map<string, MemberId>();
  /** By token: who asked, and the highest index that was committed when it did. */
  readonly #reads = new Map<number, { readonly member: MemberId; readonly least: number }>();
  /** By member: how often it ticked, and when it was last reached by others and by its leader. */
  readonly #ticks = new Map<MemberId, number>();
  readonly #heard = new Map<MemberId, Map<MemberId, number>>();
  readonly #configurations = new Map<MemberId, number>();
  readonly #heardLeader = new Map<MemberId, number>();
  /** By voter, candidate and term: whether the voter heard from its leader whenever it was asked. */
  readonly #loyal = new Map<string, boolean>();
  readonly #transfers = new Map<MemberId, { readonly to: MemberId; readonly term: number; readonly since: number }>();
  #electionTicks = Infinity;
  #highestCommit = 0;
  #confirmedClock = 0;

  constructor(hosts: ReadonlyMap<MemberId, MemoryHost>) {
    this.#hosts = hosts;
  }

  /** After every event. */
  check(): void {
    for (const host of this.#hosts.values()) {
      if (!host.alive) continue;
      const { raft } = host;
      this.#checkLeader(host);
      const before = this.#commits.get(host.id) ?? 0;
      assert.ok(raft.commitIndex >= before, `member ${host.id}: the commit index went back`);
      if (raft.commitIndex === before) continue;
      if (raft.role === 'leader')
        assert.equal(raft.termAt(raft.commitIndex), raft.term, 'leaders commit their own entries');
      for (let i = Math.max(before, raft.baseIndex) + 1; i <= raft.commitIndex; i++) {
        // What is applied is on the disk, and may be gone from memory.
        const entry = i <= raft.appliedIndex ? host.disk.log[i - host.disk.base.index - 1] : raft.entry(i);
        assert.ok(entry?.index === i, `entry ${i} is found`);
        this.#commit(host, entry);
      }
      this.#commits.set(host.id, raft.commitIndex);
    }
  }

  #checkLeader({ id, raft }: MemoryHost): void {
    if (raft.role !== 'leader') return;
    const known = this.#leaders.get(raft.term);
    assert.ok(known === undefined || known === id, `term ${raft.term} has two leaders: ${known} and ${id}`);
    if (known !== undefined) return;
    this.#leaders.set(raft.term, id);
    for (const [index, { term }] of this.#committed) {
      if (index < raft.baseIndex) continue;
      assert.equal(raft.termAt(index), term, `leader ${id} of term ${raft.term} has the committed entry ${index}`);
    }
    const revision = raft.lastRevision;
    assert.ok(revision > this.#confirmedClock, `leader ${id} begins above ${this.#confirmedClock}, found ${revision}`);
  }

  #commit(host: MemoryHost, entry: Entry): void {
    const { index, term } = entry;
    const content = mix(0, entry);
    const known = this.#committed.get(index);
    if (known !== undefined) {
      assert.deepEqual({ term, content }, known, `member ${host.id} committed the same entry ${index} as others`);
      return;
    }
    this.#committed.set(index, { term, content });
    this.#highestCommit = Math.max(this.#highestCommit, index);
    assert.ok(
      this.#isOnQuorum(host.raft.configuration, index, term),
      `entry ${index} of term ${term} is committed by ${host.id} and not on a quorum of disks`,
    );
  }

  #isOnQuorum({ voters, outgoingVoters }: Configuration, index: number, term: number): boolean {
    const holds = (id: MemberId): boolean => {
      const disk = this.#hosts.get(id)?.disk;
      // What was lost since was there.
      return disk !== undefined && (holdsLost(disk, index, term) || diskHolds(disk, index, term));
    };
    return [voters, outgoingVoters].every((half) => half.length === 0 || half.filter(holds).length * 2 > half.length);
  }

  /** Raft rules 9 and 19: a leader that hears no quorum makes room in time, and a transfer ends in time. */
  ticked({ id, raft }: MemoryHost, electionTicks: number): void {
    this.#electionTicks = electionTicks;
    const now = (this.#ticks.get(id) ?? 0) + 1;
    this.#ticks.set(id, now);
    if (raft.role !== 'leader') {
      this.#transfers.delete(id);
      this.#heard.delete(id);
      return;
    }
    const to = raft.transferee;
    const transfer = this.#transfers.get(id);
    if (to === 0) this.#transfers.delete(id);
    else if (transfer?.to !== to || transfer.term !== raft.term) {
      this.#transfers.set(id, { to, term: raft.term, since: now });
    } else assert.ok(now - transfer.since <= electionTicks, `the transfer from ${id} to ${to} ends`);
    let heard = this.#heard.get(id);
    if (heard === undefined) this.#heard.set(id, (heard = new Map([[0, now]])));
    // Another quorum has as much time again.
    if (this.#configurations.get(id) !== raft.configurationIndex) heard.set(0, now);
    this.#configurations.set(id, raft.configurationIndex);
    if (now - heard.get(0)! <= 2 * electionTicks) return;
    const { voters, outgoingVoters } = raft.configuration;
    for (const half of [voters, outgoingVoters]) {
      const near = half.filter((member) => member === id || now - (heard.get(member) ?? 0) <= 2 * electionTicks);
      assert.ok(half.length === 0 || near.length * 2 > half.length, `leader ${id} hears from a quorum`);
    }
  }

  delivered({ id, raft }: MemoryHost, message: Message): void {
    const { type, from, term } = message;
    const now = this.#ticks.get(id) ?? 0;
    if (type === 'vote') {
      const key = `${id} ${from} ${term}`;
      const silence = now - (this.#heardLeader.get(id) ?? -Infinity);
      const heard = raft.leader !== 0 && silence < this.#electionTicks && !message.transfer;
      this.#loyal.set(key, heard && this.#loyal.get(key) !== false);
    }
    this.#heard.get(id)?.set(from, now);
    if ((type === 'append' || type === 'heartbeat') && term === raft.term) this.#heardLeader.set(id, now);
  }

  /** Raft rule 15: whoever votes again holds all that it helped to commit. */
  repaired({ id, disk }: MemoryHost): void {
    for (const { index, term } of disk.lost) {
      if (this.#committed.get(index)?.term !== term) continue;
      assert.ok(diskHolds(disk, index, term), `member ${id} is repaired and lacks the committed entry ${index}`);
    }
  }

  applied(host: MemoryHost, entry: Entry, { digest }: MachineState): void {
    const { index, term } = entry;
    assert.ok(diskHolds(host.disk, index, term), `member ${host.id} applies entry ${index}, which its disk has`);
    const known = this.#states.get(index);
    if (known === undefined) this.#states.set(index, digest);
    else assert.equal(digest, known, `member ${host.id} holds the same state after ${index} as others`);
  }

  /** Votes leave only when they are durable, and one for a term. */
  sent({ id, disk }: MemoryHost, message: Message): void {
    const votes = message.type === 'vote' && !message.pre ? id : undefined;
    const granted = message.type === 'vote_reply' && !message.pre && message.granted ? message.to : undefined;
    const candidate = votes ?? granted;
    if (candidate !== undefined) {
      const key = `${id} ${message.term}`;
      const known = this.#votes.get(key);
      assert.ok(known === undefined || known === candidate, `member ${id} votes once in term ${message.term}`);
      this.#votes.set(key, candidate);
      const { term, vote } = disk.hardState;
      assert.ok(term > message.term || (term === message.term && vote === candidate), `the vote of ${id} is durable`);
    }
    if (message.type === 'vote_reply' && message.pre && message.granted) {
      const heard = this.#loyal.get(`${id} ${message.to} ${message.term}`);
      assert.ok(heard !== true, `member ${id} hears its leader and favours ${message.to}`);
    }
    if (message.type === 'append_reply' && message.term === this.#hosts.get(id)?.raft.term) {
      const durable = disk.log.at(-1)?.index ?? disk.base.index;
      assert.ok(message.index <= durable, `member ${id} acknowledges ${message.index}, its disk ends at ${durable}`);
    }
  }

  collected({ id, raft }: MemoryHost, { committed }: Ready): void {
    if (committed !== null) assert.ok(committed.to <= raft.durableIndex, `member ${id} applies durable entries`);
  }

  asked(member: MemberId, token: number): void {
    this.#reads.set(token, { member, least: this.#highestCommit });
  }

  read({ token, index, clock }: ReadState): void {
    const asked = this.#reads.get(token);
    assert.ok(asked !== undefined, `read ${token} is answered once`);
    assert.ok(index >= asked.least, `read ${token} sees ${index}; ${asked.least} was committed before it began`);
    this.#reads.delete(token);
    this.#confirmedClock = Math.max(this.#confirmedClock, clock);
    this.#checkBound(asked.member, clock);
  }

  /** A quorum of disks keeps later lives from giving what lies below an instant that a read relies on. */
  #checkBound(asker: MemberId, clock: number): void {
    const { voters, joint } = this.#hosts.get(asker)!.raft.configuration;
    const others = [...this.#hosts.values()].map(({ raft }) => raft.configuration);
    // During changes it depends on whom the leader asked.
    if (joint || others.some((other) => other.voters.join() !== voters.join())) return;
    const bound = voters.filter((id) => this.#hosts.get(id)!.disk.clock >= clock);
    assert.ok(bound.length * 2 > voters.length, `a quorum is bound by instant ${clock} of a read by ${asker}`);
  }

  refused(token: number): void {
    assert.ok(this.#reads.delete(token), `read ${token} is refused once`);
  }

  allReadsAnswered(): void {
    assert.equal(this.#reads.size, 0, `reads ${[...this.#reads.keys()].join(', ')} got no answer`);
  }

  /** What a crash forgets is learned again; who asked for a read is gone. */
  restarted({ id, raft }: MemoryHost): void {
    this.#commits.set(id, raft.commitIndex);
    this.#heard.delete(id);
    this.#heardLeader.delete(id);
    this.#transfers.delete(id);
    for (const [token, { member }] of this.#reads) if (member === id) this.#reads.delete(token);
  }

  /** Log matching: where two logs agree on a term, they agree on everything before. */
  checkLogs(): void {
    const hosts = [...this.#hosts.values()].filter(({ alive }) => alive);
    for (const [i, a] of hosts.entries()) for (const b of hosts.slice(i + 1)) this.#checkPair(a, b);
  }

  #checkPair(a: MemoryHost, b: MemoryHost): void {
    const low = Math.max(a.raft.baseIndex, b.raft.baseIndex);
    let agree = false;
    for (let i = Math.min(a.raft.lastIndex, b.raft.lastIndex); i > low; i--) {
      const same = a.raft.termAt(i) === b.raft.termAt(i);
      assert.ok(same || !agree, `logs of ${a.id} and ${b.id} agree behind ${i} and not there`);
      agree ||= same;
    }
  }
}

function holdsLost({ lost }: MemoryDisk, index: number, term: number): boolean {
  return lost.some((entry) => entry.index === index && entry.term === term);
}

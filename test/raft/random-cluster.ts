import assert from 'node:assert/strict';
import { Prng } from '../../src/base/prng.js';
import { initialConfiguration, type ConfigChange } from '../../src/raft/configuration.js';
import type { MemberId } from '../../src/raft/entry.js';
import type { Message } from '../../src/raft/message.js';
import type { RaftOptions } from '../../src/raft/options.js';
import type { Ready } from '../../src/raft/ready.js';
import { ClusterChecker } from './cluster-checker.js';
import { MemoryHost, newDisk, type HostEvents, type MachineState } from './memory-host.js';

interface InFlight {
  readonly message: Message;
  readonly data: MachineState | null;
}

type EventName =
  | 'deliver'
  | 'persist'
  | 'tick'
  | 'tickAll'
  | 'propose'
  | 'read'
  | 'crash'
  | 'restart'
  | 'partition'
  | 'heal'
  | 'config'
  | 'transfer'
  | 'hold'
  | 'compact'
  | 'release'
  | 'unreachable'
  | 'loseTail'
  | 'pushSnapshot'
  | 'collect';

/** What happened, so that a run that did too little can be seen. */
export type Counters = Record<string, number>;

const MAX_HOSTS = 9;
const MAX_IN_FLIGHT = 400;

/**
 * A group of replicas in memory under a seeded network, disks whose writes complete late or never, crashes, partitions,
 * membership changes and snapshots. Every seed leaves about half of the faults out. Throws when a promise is broken.
 */
export class RandomCluster {
  readonly counters: Counters = {};
  readonly #prng: Prng;
  readonly #hosts = new Map<MemberId, MemoryHost>();
  readonly #checker = new ClusterChecker(this.#hosts);
  readonly #options: Partial<RaftOptions>;
  readonly #weights: [EventName, number][];
  readonly #blocked = new Set<string>();
  readonly #dropChance: number;
  readonly #repeatChance: number;
  readonly #reorderChance: number;
  readonly #lazyChance: number;
  #network: InFlight[] = [];
  /** What leaders were asked to hold back, by member. */
  readonly #holds = new Map<MemberId, { readonly term: number; readonly revision: number }>();
  /** Who waits for a member to install its snapshot. */
  readonly #streams = new Map<MemberId, MemberId[]>();
  /** Answers that travel until the member that asked has been started again. */
  readonly #late = new Map<MemberId, InFlight[]>();
  /** The last that lost entries. */
  #damaged: MemberId = 0;
  #turn = 1;
  #nextReadToken = 1;
  #proposals = 0;
  #nodes = 0;
  #calm = false;

  constructor(seed: number) {
    const prng = new Prng(seed);
    this.#prng = prng;
    this.#options = {
      electionTicks: prng.between(4, 8),
      heartbeatTicks: prng.between(1, 2),
      maxAppendBytes: prng.pick([40, 120, 1000, 100_000]),
      maxSentMessages: prng.pick([1, 2, 4, 64]),
      maxSentBytes: prng.pick([60, 400, 100_000]),
      maxUncommittedBytes: prng.pick([200, 100_000]),
      maxBytesInMemory: prng.pick([0, 100, Infinity]),
      promotionLag: prng.pick([0, 5]),
    };
    const some = (weight: number): number => (prng.chance(0.5) ? weight : 0);
    this.#weights = [
      ['deliver', 120],
      ['persist', prng.pick([15, 40, 100])],
      ['tick', 12],
      ['tickAll', 5],
      ['propose', prng.pick([4, 15, 40])],
      ['read', some(10)],
      ['crash', some(prng.pick([1, 4]))],
      ['restart', 5],
      ['partition', some(prng.pick([1, 3]))],
      ['heal', prng.pick([1, 4])],
      ['config', some(8)],
      ['transfer', some(3)],
      ['hold', some(8)],
      ['compact', some(8)],
      ['release', some(4)],
      ['unreachable', some(2)],
      ['loseTail', prng.pick([0, 0, 1, 3])],
      ['pushSnapshot', some(2)],
      ['collect', 60],
    ];
    this.#dropChance = prng.pick([0, 0, 0.02, 0.15]);
    this.#repeatChance = prng.pick([0, 0, 0.05]);
    this.#reorderChance = prng.pick([0, 0.1, 1]);
    this.#lazyChance = prng.pick([0, 0.3, 0.8]);
    const voters = prng.pick([1, 2, 3, 3, 3, 3, 4, 5]);
    const configuration = initialConfiguration(Array.from({ length: voters }, () => `n${++this.#nodes}`));
    for (const { id, nodeId } of configuration.members) {
      const host = this.#add(id, nodeId);
      host.disk.machine = newDisk(configuration).machine;
      host.start();
    }
  }

  run(steps: number): void {
    const total = this.#weights.reduce((sum, [, weight]) => sum + weight, 0);
    for (let i = 0; i < steps; i++) {
      let at = this.#prng.below(total);
      const [name] = this.#weights.find(([, weight]) => (at -= weight) < 0)!;
      this.#event(name);
      this.#checker.check();
      this.#checkHolds();
      if (i % 64 === 0) this.#checker.checkLogs();
    }
    this.#checker.checkLogs();
    this.#heal();
  }

  #add(id: MemberId, nodeId: string): MemoryHost {
    const events: HostEvents = {
      applied: (host, entry, state) => this.#checker.applied(host, entry, state),
      read: (_, read) => {
        this.#count('read answered');
        this.#checker.read(read);
      },
      repaired: (host, byAnswer) => {
        this.#count(byAnswer ? 'repaired by an answer' : 'repaired');
        this.#checker.repaired(host);
      },
      refused: (_, token) => {
        this.#count('read refused');
        this.#checker.refused(token);
      },
    };
    const host = new MemoryHost(
      id,
      nodeId,
      newDisk(),
      this.#options,
      (bound) => this.#prng.below(bound),
      // Even; those of reads are odd, so no token comes twice.
      () => this.#turn * 2,
      events,
    );
    this.#hosts.set(id, host);
    return host;
  }

  #count(name: string): void {
    this.counters[name] = (this.counters[name] ?? 0) + 1;
  }

  #alive(): MemoryHost[] {
    return [...this.#hosts.values()].filter(({ alive }) => alive);
  }

  #event(name: EventName): void {
    const alive = this.#alive();
    if (name === 'deliver') {
      this.#deliver();
      return;
    }
    if (name === 'restart') {
      const dead = [...this.#hosts.values()].filter((host) => !host.alive);
      if (dead.length === 0) return;
      const host = this.#prng.pick(dead);
      host.start();
      this.#checker.restarted(host);
      for (const item of this.#late.get(host.id) ?? []) this.#network.unshift(item);
      this.#late.delete(host.id);
      this.#count('restart');
      return;
    }
    if (name === 'tickAll') {
      for (const host of alive) this.#tick(host);
      return;
    }
    if (name === 'partition') this.#partition();
    if (name === 'heal') this.#blocked.clear();
    if (alive.length === 0 || name === 'partition' || name === 'heal') return;
    const host = this.#prng.pick(alive);
    this.#act(name, host);
    if (host.alive && !this.#prng.chance(this.#lazyChance)) this.#collect(host);
  }

  #act(name: EventName, host: MemoryHost): void {
    const { raft } = host;
    switch (name) {
      case 'persist':
        if (host.writes.length > 0) {
          this.#persist(host);
        }
        break;
      case 'tick':
        this.#tick(host);
        break;
      case 'propose':
        this.#propose(this.#leader() ?? host);
        break;
      case 'read':
        this.#read(this.#prng.chance(0.5) ? (this.#leader() ?? host) : host);
        break;
      case 'crash':
        this.#crash(host);
        this.#count('crash');
        break;
      case 'config':
        this.#changeMembers(this.#leader() ?? host);
        break;
      case 'transfer': {
        const leader = this.#leader() ?? host;
        if (leader.raft.transferLeadership(this.#prng.pick([...this.#hosts.keys()])) === null) this.#count('transfer');
        break;
      }
      case 'hold':
        this.#hold(this.#leader() ?? host);
        break;
      case 'compact':
        host.flush();
        if (this.#prng.chance(0.7)) host.compact(raft.appliedIndex - this.#prng.pick([0, 0, 2, 5]));
        break;
      case 'release':
        raft.releasePayloadsTo(raft.appliedIndex);
        break;
      case 'unreachable':
        raft.reportUnreachable(this.#prng.pick([...this.#hosts.keys()]));
        break;
      case 'pushSnapshot':
        // As from a stream that the leader has given up.
        this.#stream(this.#leader() ?? host, this.#prng.pick([...this.#hosts.keys()]));
        break;
      case 'loseTail':
        this.#loseTail(host);
        break;
      default:
        break;
    }
  }

  #persist(host: MemoryHost): void {
    const installs = host.writes[0]!.request.snapshot !== null;
    host.persistNext();
    if (!installs) return;
    this.#count('snapshot installed');
    this.#endStreams(host);
  }

  #crash(host: MemoryHost): void {
    host.crash(this.#prng.pick([0, 0, 1, 2, 9]), this.#prng.pick([-1, -1, 0, 1, 2]));
    this.#endStreams(host);
  }

  #endStreams(host: MemoryHost): void {
    for (const from of this.#streams.get(host.id) ?? []) this.#reportSnapshot(from, host.id);
    this.#streams.delete(host.id);
  }

  #tick(host: MemoryHost): void {
    host.clock += this.#prng.below(3);
    host.raft.tick();
    this.#checker.ticked(host, this.#options.electionTicks!);
    if (host.raft.hasReady && this.#prng.chance(0.5)) this.#collect(host);
  }

  /** Any that believes to lead; an old one too. */
  #leader(): MemoryHost | undefined {
    const leaders = this.#alive().filter(({ raft }) => raft.role === 'leader');
    return leaders.length === 0 ? undefined : this.#prng.pick(leaders);
  }

  #propose(host: MemoryHost): void {
    const data = new TextEncoder().encode(`${++this.#proposals}`);
    if (typeof host.propose(data) !== 'string') this.#count('proposal');
  }

  #read(host: MemoryHost): void {
    const token = this.#nextReadToken;
    this.#nextReadToken += 2;
    this.#checker.asked(host.id, token);
    if (!host.raft.readIndex(token)) this.#checker.refused(token);
  }

  /** As a scan does: first at an instant that nothing in the log is above, then perhaps a later one; in the end it lets go. */
  #hold(host: MemoryHost): void {
    const { raft, id } = host;
    const held = this.#holds.get(id);
    if (held !== undefined && held.term === raft.term && raft.role === 'leader' && this.#prng.chance(0.5)) {
      this.#holds.delete(id);
      raft.holdCommit(Infinity);
      this.#count('hold ended');
      return;
    }
    const least = held?.term === raft.term ? held.revision : raft.latestInstant;
    const revision = least + this.#prng.pick([0, 0, 3]);
    if (!raft.holdCommit(revision)) return;
    this.#holds.set(id, { term: raft.term, revision });
    this.#count('hold');
  }

  #checkHolds(): void {
    for (const [id, { term, revision }] of this.#holds) {
      const { raft, alive } = this.#hosts.get(id)!;
      if (!alive || raft.role !== 'leader' || raft.term !== term) this.#holds.delete(id);
      else {
        const next = raft.commitIndex;
        const last = next > raft.appliedIndex ? raft.entry(next).revision : 0;
        assert.ok(last <= revision, `leader ${id} holds back what is above ${revision}, and committed ${last}`);
      }
    }
  }

  #endHolds(): void {
    for (const [id, { term }] of this.#holds) {
      const { raft } = this.#hosts.get(id)!;
      if (raft.role === 'leader' && raft.term === term) raft.holdCommit(Infinity);
    }
    this.#holds.clear();
  }

  #changeMembers(host: MemoryHost): void {
    if (this.#repairing) return;
    const { raft } = host;
    const { configuration } = raft;
    const voters = configuration.members.filter(({ incoming }) => incoming === 'voter').map(({ id }) => id);
    const learners = configuration.members.filter(({ incoming }) => incoming === 'learner').map(({ id }) => id);
    const change: { -readonly [K in keyof ConfigChange]: ConfigChange[K] } = {};
    const some = (from: MemberId[]): MemberId[] => from.filter(() => this.#prng.chance(0.4));
    if (learners.length > 0 && this.#prng.chance(0.7)) change.promote = some(learners);
    if (voters.length > 3 || this.#prng.chance(0.3)) {
      const leaving = some(voters);
      if (this.#prng.chance(0.5)) change.remove = leaving;
      else change.demote = leaving;
    }
    if (this.#hosts.size < MAX_HOSTS && this.#prng.chance(0.5)) change.addLearners = [`n${this.#nodes + 1}`];
    const stale = this.#prng.chance(0.1) ? 1 : 0;
    const settled =
      raft.committedInTerm && !configuration.joint && raft.configurationIndex <= raft.commitIndex && stale === 0;
    const result = raft.proposeConfig(change, raft.configurationIndex - stale);
    if (typeof result === 'string') {
      this.#count(`change ${result}`);
      return;
    }
    assert.ok(settled, `member ${host.id} takes a change while nothing else is in flight`);
    this.#count(raft.configuration.joint ? 'joint change' : 'learner change');
    for (const id of result.added) this.#add(id, `n${++this.#nodes}`);
  }

  /** Entries that were durable, and may have been acknowledged, can't be read any more. Never on two replicas at a time. */
  #loseTail(host: MemoryHost): void {
    if (this.#repairing) return;
    // Else the rest may be too few to go on without it.
    for (const { raft } of this.#hosts.values()) {
      const { voters, outgoingVoters, joint, members } = raft.configuration;
      if (members.length > 0 && (voters.length < 3 || (joint && outgoingVoters.length < 3))) return;
    }
    // Damage at each start for a while, so that answers to an earlier life are still under way.
    const again = this.#hosts.get(this.#damaged);
    if (again !== undefined && this.#prng.chance(0.7)) host = again;
    this.#crash(host);
    const { disk } = host;
    const last = disk.log.at(-1)?.index ?? 0;
    if (last <= disk.machine.index) return;
    const keep = this.#prng.between(disk.machine.index, last - 1);
    // A start knows how many entries a damaged record can have held, not how many it had.
    host.loseAbove(keep, last - keep + this.#prng.pick([0, 0, 1, 50]));
    this.#damaged = host.id;
    this.#count('lost tail');
  }

  get #repairing(): boolean {
    return [...this.#hosts.values()].some(({ disk }) => disk.repairIndex > 0);
  }

  #partition(): void {
    this.#count('partition');
    this.#blocked.clear();
    const ids = [...this.#hosts.keys()];
    const side = new Set(ids.filter(() => this.#prng.chance(0.5)));
    const oneWay = this.#prng.chance(0.3);
    for (const a of ids) {
      for (const b of ids) {
        if (side.has(a) && !side.has(b)) {
          this.#blocked.add(`${a}>${b}`);
          if (!oneWay) this.#blocked.add(`${b}>${a}`);
        }
      }
    }
  }

  #collect(host: MemoryHost): Ready['snapshotVerdicts'] {
    const ready = host.collect();
    this.#turn++;
    if (ready.softState?.role === 'leader') this.#count('election');
    for (const { verdict } of ready.snapshotVerdicts) this.#count(`snapshot ${verdict}`);
    if ((ready.persist?.truncateFrom ?? 0) > 0) this.#count('truncation');
    if (ready.loads.length > 0) this.#count('load');
    this.#checker.collected(host, ready);
    for (const message of ready.messages) {
      this.#checker.sent(host, message);
      this.#post({ message, data: null });
    }
    for (const member of host.snapshotsTo.splice(0)) this.#stream(host, member);
    return ready.snapshotVerdicts;
  }

  #stream(host: MemoryHost, member: MemberId): void {
    this.#count('snapshot streamed');
    const { raft } = host;
    const failed = !this.#calm && this.#prng.chance(0.2);
    if (failed || raft.role !== 'leader') {
      raft.reportSnapshot(member);
      return;
    }
    const snapshot = host.snapshotMeta();
    const message = {
      type: 'snapshot',
      group: 7,
      from: host.id,
      to: member,
      term: raft.term,
      snapshot,
    } as const;
    this.#post({ message, data: host.machine });
  }

  #post(item: InFlight): void {
    if (!this.#calm) {
      if (this.#prng.chance(this.#repeatChance)) this.#network.push(item);
      if (item.message.type === 'repair_reply' && this.#prng.chance(0.5)) {
        this.#late.set(item.message.to, [...(this.#late.get(item.message.to) ?? []), item]);
        if (this.#prng.chance(0.5)) return;
      }
      if (this.#network.length > MAX_IN_FLIGHT) {
        this.#lose(this.#network.splice(this.#prng.below(this.#network.length), 1)[0]!);
      }
      // What left before a partition began may still arrive.
      if (this.#prng.chance(this.#dropChance) || this.#blocked.has(`${item.message.from}>${item.message.to}`)) {
        this.#lose(item);
        return;
      }
    }
    this.#network.push(item);
  }

  /** Whoever streams a snapshot notices that the stream broke. */
  #lose({ message }: InFlight): void {
    if (message.type === 'snapshot') this.#reportSnapshot(message.from, message.to);
  }

  #deliver(): void {
    if (this.#network.length === 0) return;
    const at = !this.#calm && this.#prng.chance(this.#reorderChance) ? this.#prng.below(this.#network.length) : 0;
    const { message, data } = this.#network.splice(at, 1)[0]!;
    const target = this.#hosts.get(message.to);
    if (target === undefined || !target.alive) {
      this.#lose({ message, data });
      return;
    }
    if (message.type === 'snapshot') {
      target.receive(message, data!);
      const verdicts = this.#collect(target);
      if (verdicts.every(({ verdict }) => verdict !== 'install')) this.#reportSnapshot(message.from, message.to);
      else this.#streams.set(target.id, [...(this.#streams.get(target.id) ?? []), message.from]);
    } else target.raft.step(message);
    this.#checker.delivered(target, message);
    if (!this.#prng.chance(this.#lazyChance)) this.#collect(target);
  }

  #reportSnapshot(from: MemberId, to: MemberId): void {
    const sender = this.#hosts.get(from);
    if (sender?.alive === true) sender.raft.reportSnapshot(to);
  }

  /** Nothing fails any more: the group must elect, finish what it began, take a write, bring everybody up to it, and end repairs. */
  #heal(): void {
    this.#calm = true;
    this.#endHolds();
    this.#blocked.clear();
    for (const host of this.#hosts.values()) {
      if (host.alive) continue;
      host.start();
      this.#checker.restarted(host);
    }
    let proposed: { index: number; term: number } | null = null;
    for (let round = 0; round < 300; round++) {
      this.#calmRound();
      const leader = this.#leader();
      if (leader === undefined) continue;
      if (proposed === null || leader.raft.term !== proposed.term) {
        const entry = leader.propose(new TextEncoder().encode('healed'));
        proposed = typeof entry === 'string' ? null : entry;
      } else if (this.#isWhole(leader, proposed.index)) {
        // Members that were removed give up on their reads in time.
        for (let i = 0; i < 20; i++) this.#calmRound();
        this.#checker.checkLogs();
        this.#checker.allReadsAnswered();
        return;
      }
    }
    assert.fail(`no progress after the faults ended: ${this.describe()}`);
  }

  #calmRound(): void {
    for (const host of this.#hosts.values()) this.#tick(host);
    this.#settle();
    this.#checker.check();
  }

  #settle(): void {
    for (let i = 0; i < 20; i++) {
      for (const host of this.#hosts.values()) {
        this.#collect(host);
        while (host.writes.length > 0) this.#persist(host);
        this.#checker.check();
        this.#collect(host);
      }
      for (let budget = 600; this.#network.length > 0 && budget > 0; budget--) {
        this.#deliver();
        this.#checker.check();
      }
    }
  }

  #isWhole(leader: MemoryHost, index: number): boolean {
    const { configuration, configurationIndex } = leader.raft;
    if (configuration.joint || configurationIndex > leader.raft.commitIndex) return false;
    return configuration.members.every(({ id }) => {
      const host = this.#hosts.get(id);
      return host !== undefined && host.machine.index >= index && !host.raft.repairing;
    });
  }

  describe(): string {
    return [...this.#hosts.values()]
      .map(({ id, raft, machine, alive }) => {
        const { voters, outgoingVoters, joint } = raft.configuration;
        const members = `${voters.join(',')}${joint ? `&${outgoingVoters.join(',')}` : ''}@${raft.configurationIndex}`;
        return (
          `\n  ${id}${alive ? '' : ' down'} ${raft.role} term ${raft.term} leader ${raft.leader} last ${raft.termAt(raft.lastIndex)}/${raft.lastIndex}` +
          ` durable ${raft.durableIndex} commit ${raft.commitIndex} applied ${machine.index} base ${raft.baseIndex} voters ${members}` +
          `${raft.repairing ? ' repairing' : ''} ${raft.progress.map((p) => `${p.id}:${p.state}:${p.match}`).join(' ')}`
        );
      })
      .join('');
  }
}

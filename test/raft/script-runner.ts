import { initialConfiguration, type ConfigChange, type Configuration } from '../../src/raft/configuration.js';
import { NO_DATA, type Entry, type MemberId } from '../../src/raft/entry.js';
import type { Message } from '../../src/raft/message.js';
import type { RaftOptions } from '../../src/raft/options.js';
import { GROUP, MemoryHost, newDisk, type MachineState } from './memory-host.js';

/**
 * Runs an interaction script: lines that begin with `> ` are commands, what follows is what they said, and the rest is
 * explanation. Returns the script as it should read. Commands (M, A, B are member ids):
 *
 *   cluster N [option=value]...   a group with voters 1 to N
 *   log M T T T... [term=T] [commit=N]  the disk of M holds entries of these terms from index 1 on
 *   tick M [times]         stand M      (ticks until M stands for election)
 *   ready M...             what the core asks for; messages go into the network, writes wait
 *   write M [count]        the oldest writes of M become durable (all without a count)
 *   deliver A->B [count]   drop A->B [count]   repeat A->B (the oldest message once more)
 *   settle [M...]          ready, write and deliver among these (all without names) until nothing moves; silent on messages
 *   propose M text         read M       transfer M A
 *   hold M INDEX (nothing behind this entry commits; without INDEX the hold ends)
 *   config M [add=node] [promote=A] [demote=A] [remove=A] [at=index]
 *   crash M      restart M     lose M INDEX [most=N] (entries above are lost from the disk, N of them at most as far as it knows)
 *   flush M      compact M INDEX     stream A B (a snapshot of A goes to B)     report A B
 *   state [M...]
 */
export function runScript(text: string): string {
  const runner = new ScriptRunner();
  const out: string[] = [];
  let inOutput = false;
  for (const line of text.split('\n')) {
    if (line.startsWith('> ')) {
      out.push(line);
      out.push(...runner.run(line.slice(2).trim()).map((said) => `  ${said}`));
      inOutput = true;
    } else if (!inOutput || !line.startsWith('  ')) {
      inOutput = false;
      out.push(line);
    }
  }
  return out.join('\n');
}

class ScriptRunner {
  readonly #hosts = new Map<MemberId, MemoryHost>();
  #network: { readonly message: Message; readonly data: MachineState | null }[] = [];
  #options: Partial<RaftOptions> = {};
  #turn = 1;
  #token = 1;
  #said: string[] = [];

  run(command: string): string[] {
    this.#said = [];
    const [name = '', ...words] = command.split(/\s+/);
    try {
      this.#command(name, words);
    } catch (error) {
      this.#say(`stops: ${(error as Error).message}`);
    }
    return this.#said;
  }

  #say(line: string): void {
    this.#said.push(line);
  }

  #host(word: string | undefined): MemoryHost {
    const host = this.#hosts.get(Number(word));
    if (host === undefined) throw new Error(`no member ${word}`);
    return host;
  }

  #command(name: string, words: readonly string[]): void {
    const [first, second] = words;
    switch (name) {
      case 'cluster':
        this.#cluster(Number(first), words.slice(1));
        break;
      case 'log':
        this.#log(this.#host(first), words.slice(1));
        break;
      case 'tick':
        for (let i = 0; i < Number(second ?? 1); i++) this.#host(first).raft.tick();
        break;
      case 'stand':
        this.#stand(this.#host(first));
        break;
      case 'ready':
        for (const word of words) this.#ready(this.#host(word), true);
        break;
      case 'write':
        this.#write(this.#host(first), Number(second ?? Infinity));
        break;
      case 'deliver':
      case 'drop':
      case 'repeat':
        this.#link(name, first ?? '', Number(second ?? Infinity));
        break;
      case 'settle':
        this.#settle(words.length > 0 ? words.map(Number) : [...this.#hosts.keys()]);
        break;
      case 'propose': {
        const result = this.#host(first).propose(new TextEncoder().encode(second));
        this.#say(typeof result === 'string' ? `refused: ${result}` : `entry ${result.term}/${result.index}`);
        break;
      }
      case 'read': {
        const token = this.#token++;
        const asked = this.#host(first).raft.readIndex(token);
        this.#say(asked ? `read ${token} waits` : `read ${token} refused: no leader`);
        break;
      }
      case 'hold': {
        const { raft } = this.#host(first);
        const revision = second === undefined ? Infinity : raft.entry(Number(second)).revision;
        this.#say(raft.holdCommit(revision) ? (second === undefined ? 'ends' : `behind ${second}`) : 'refused');
        break;
      }
      case 'transfer':
        this.#say(this.#host(first).raft.transferLeadership(Number(second)) ?? 'begins');
        break;
      case 'config':
        this.#config(this.#host(first), words.slice(1));
        break;
      case 'crash':
        this.#host(first).crash();
        break;
      case 'restart':
        this.#host(first).start();
        this.#state(this.#host(first));
        break;
      case 'lose': {
        const host = this.#host(first);
        const most = words[2]?.replace('most=', '') ?? host.disk.log.at(-1)!.index - Number(second);
        host.loseAbove(Number(second), Number(most));
        break;
      }
      case 'flush':
        this.#host(first).flush();
        break;
      case 'compact':
        this.#host(first).flush();
        this.#host(first).compact(Number(second));
        this.#say(`the log of ${first} begins behind ${this.#host(first).raft.baseIndex}`);
        break;
      case 'stream': {
        const from = this.#host(first);
        const { raft, id } = from;
        this.#send(
          {
            type: 'snapshot',
            group: GROUP,
            from: id,
            to: Number(second),
            term: raft.term,
            snapshot: from.snapshotMeta(),
          },
          from.machine,
        );
        break;
      }
      case 'report':
        this.#host(first).raft.reportSnapshot(Number(second));
        break;
      case 'state':
        for (const host of words.length > 0 ? words.map((word) => this.#host(word)) : this.#hosts.values()) {
          this.#state(host);
        }
        break;
      default:
        throw new Error(`unknown command ${name}`);
    }
  }

  #cluster(voters: number, options: readonly string[]): void {
    this.#options = {
      electionTicks: 10,
      heartbeatTicks: 2,
      promotionLag: 0,
      ...Object.fromEntries(options.map((option) => option.split('=')).map(([key, value]) => [key, Number(value)])),
    };
    const configuration = initialConfiguration(Array.from({ length: voters }, (_, i) => `n${i + 1}`));
    for (const { id, nodeId } of configuration.members) this.#add(id, nodeId, configuration);
  }

  #add(id: MemberId, nodeId: string, configuration?: Configuration): void {
    const host = new MemoryHost(
      id,
      nodeId,
      newDisk(configuration),
      this.#options,
      // Everybody's patience ends after one and a half times the minimum.
      (bound) => Math.floor(bound / 2),
      () => this.#turn,
      {
        read: (_, { token, index }) => this.#say(`${id} read ${token} sees index ${index}`),
        refused: (_, token) => this.#say(`${id} read ${token} refused`),
      },
    );
    host.disk.clock = 1_000_000;
    this.#hosts.set(id, host);
  }

  #log({ disk, raft }: MemoryHost, words: readonly string[], host = this.#host(String(raft.id))): void {
    const terms = words.filter((word) => /^\d+$/.test(word)).map(Number);
    const named = new Map(
      words.filter((word) => word.includes('=')).map((word) => word.split('=') as [string, string]),
    );
    disk.log = terms.map((term, i): Entry => ({ term, index: i + 1, kind: 'normal', revision: i + 1, data: NO_DATA }));
    disk.hardState = {
      term: Number(named.get('term') ?? terms.at(-1) ?? 0),
      vote: 0,
      commit: Number(named.get('commit') ?? 0),
    };
    host.start();
    this.#state(host);
  }

  #stand(host: MemoryHost): void {
    const { term } = host.raft;
    for (let i = 0; i < 20 && host.raft.role === 'follower' && host.raft.term === term; i++) host.raft.tick();
    this.#ready(host, true);
  }

  #ready(host: MemoryHost, loud: boolean): void {
    if (!host.alive) return;
    const before = host.machine.index;
    const { softState, persist, messages, snapshotVerdicts, loads } = host.collect();
    this.#turn++;
    const say = (line: string): void => this.#say(`${host.id} ${line}`);
    if (softState !== null) {
      const { role, leader, term } = softState;
      say(`is ${role} in term ${term}${leader === 0 ? '' : `, led by ${leader}`}`);
    }
    for (const { snapshot, verdict } of snapshotVerdicts)
      say(`snapshot ${snapshot.term}/${snapshot.index}: ${verdict}`);
    if (loud && persist !== null) {
      const { hardState, entries, truncateFrom, snapshot } = persist;
      const parts: string[] = [];
      if (snapshot !== null) parts.push(`snapshot ${snapshot.term}/${snapshot.index}`);
      if (hardState !== null) parts.push(`term ${hardState.term} vote ${hardState.vote}`);
      if (truncateFrom > 0) parts.push(`nothing from ${truncateFrom} on`);
      if (entries !== null) parts.push(`entries ${entries.from}..${entries.to}`);
      say(`writes ${parts.join(', ')}`);
    }
    if (loads.length > 0 && loud)
      for (const { from, to, follower } of loads) say(`loads ${from}..${to} for ${follower}`);
    for (const message of messages) {
      if (loud) this.#say(`${describe(message)}`);
      this.#send(message, null);
    }
    if (host.machine.index > before) say(`applies ${before + 1}..${host.machine.index}`);
    for (const member of host.snapshotsTo.splice(0)) say(`has to stream a snapshot to ${member}`);
  }

  #send(message: Message, data: MachineState | null): void {
    this.#network.push({ message, data });
  }

  #write(host: MemoryHost, count: number): void {
    for (let i = 0; i < count && host.writes.length > 0; i++) host.persistNext();
    this.#say(`${host.id} has ${host.disk.hardState.term}: ${logText(host)} on disk`);
  }

  #link(what: string, link: string, count: number): void {
    const [from, to] = link.split('->').map(Number);
    const waiting = this.#network.filter(({ message }) => message.from === from && message.to === to).slice(0, count);
    if (waiting.length === 0) this.#say('nothing is under way');
    if (what === 'repeat') {
      this.#network.push({ ...waiting[0]! });
      return;
    }
    this.#network = this.#network.filter((item) => !waiting.includes(item));
    for (const { message, data } of waiting) {
      this.#say(`${what === 'drop' ? 'lost: ' : ''}${describe(message)}`);
      if (what === 'deliver') this.#arrive(message, data);
    }
  }

  #arrive(message: Message, data: MachineState | null): void {
    const host = this.#hosts.get(message.to);
    if (host === undefined || !host.alive) return;
    if (message.type === 'snapshot') host.receive(message, data!);
    else host.raft.step(message);
  }

  #settle(members: readonly MemberId[]): void {
    for (let round = 0; round < 100; round++) {
      const hosts = members.map((id) => this.#hosts.get(id)!).filter(({ alive }) => alive);
      let moved = false;
      for (const host of hosts) {
        if (host.raft.hasReady) this.#ready(host, false);
        while (host.writes.length > 0) {
          moved = true;
          host.persistNext();
        }
        if (host.raft.hasReady) this.#ready(host, false);
      }
      const inside = this.#network.filter(
        ({ message: { from, to } }) => members.includes(from) && members.includes(to),
      );
      this.#network = this.#network.filter((item) => !inside.includes(item));
      for (const { message, data } of inside) this.#arrive(message, data);
      if (!moved && inside.length === 0) return;
    }
    throw new Error('it does not settle');
  }

  #config(host: MemoryHost, words: readonly string[]): void {
    const values = (key: string): string[] =>
      words.filter((word) => word.startsWith(`${key}=`)).map((word) => word.slice(key.length + 1));
    const change: ConfigChange = {
      addLearners: values('add'),
      promote: values('promote').map(Number),
      demote: values('demote').map(Number),
      remove: values('remove').map(Number),
    };
    const at = Number(values('at')[0] ?? host.raft.configurationIndex);
    const result = host.raft.proposeConfig(change, at);
    if (typeof result === 'string') {
      this.#say(`refused: ${result}`);
      return;
    }
    this.#say(`entry ${result.entry.term}/${result.entry.index}: ${membersText(host.raft.configuration)}`);
    for (const [i, id] of result.added.entries()) this.#add(id, change.addLearners![i]!);
  }

  #state(host: MemoryHost): void {
    const { raft, id, alive } = host;
    const repair = raft.repairing ? ', repairing' : '';
    const down = alive ? '' : ' (down)';
    this.#say(
      `${id}${down}: ${raft.role}, term ${raft.term}${raft.leader === 0 ? '' : `, led by ${raft.leader}`}, log ${logOf(raft)}, ` +
        `durable ${raft.durableIndex}, commit ${raft.commitIndex}${repair}, ${membersText(raft.configuration)}`,
    );
    for (const { id: other, state, match } of raft.progress) this.#say(`   ${other}: ${state}, match ${match}`);
  }
}

function logOf(raft: MemoryHost['raft']): string {
  const terms: number[] = [];
  for (let i = raft.baseIndex + 1; i <= raft.lastIndex; i++) terms.push(raft.termAt(i));
  return `${raft.baseIndex > 0 ? `${raft.baseIndex}+` : ''}[${terms.join(' ')}]`;
}

function logText({ disk }: MemoryHost): string {
  return `${disk.base.index > 0 ? `${disk.base.index}+` : ''}[${disk.log.map(({ term }) => term).join(' ')}]`;
}

function membersText({ voters, outgoingVoters, joint, members }: Configuration): string {
  const learners = members.filter(({ incoming }) => incoming === 'learner').map(({ id }) => id);
  return (
    `voters ${voters.join(',')}${joint ? ` and ${outgoingVoters.join(',')}` : ''}` +
    `${learners.length > 0 ? `, learners ${learners.join(',')}` : ''}`
  );
}

function describe(message: Message): string {
  const { from, to, term } = message;
  return `${from}->${to} ${message.type} t${term}${detail(message)}`;
}

function detail(message: Message): string {
  switch (message.type) {
    case 'append': {
      const entries = message.entries.map(
        ({ term, index, kind }) => `${term}/${index}${kind === 'normal' ? '' : ` ${kind}`}`,
      );
      return ` behind ${message.prevTerm}/${message.prevIndex} [${entries.join(', ')}] commit ${message.commit}`;
    }
    case 'append_reply':
      return ` has ${message.index}`;
    case 'append_reject':
      return ` lacks ${message.rejectedIndex}, try ${message.hintTerm}/${message.hintIndex}${message.lost ? ', lost' : ''}`;
    case 'commit':
      return ` ${message.commit}`;
    case 'heartbeat':
      return ` commit ${message.commit}${message.token > 0 ? ` round ${message.token}` : ''}`;
    case 'heartbeat_reply':
      return ` has ${message.index}${message.token > 0 ? ` round ${message.token}` : ''}`;
    case 'vote':
      return `${message.pre ? ' pre' : ''}${message.transfer ? ' transfer' : ''} last ${message.lastTerm}/${message.lastIndex}`;
    case 'vote_reply':
      return `${message.pre ? ' pre' : ''} ${message.granted ? 'yes' : 'no'}`;
    case 'read':
      return ` ${message.token}`;
    case 'read_reply':
      return ` ${message.token} ${message.refused ? 'refused' : `index ${message.index}`}`;
    case 'repair':
      return ` ${message.token}`;
    case 'repair_reply':
      return ` ${message.token} log ends at ${message.lastIndex}`;
    case 'snapshot':
      return ` ${message.snapshot.term}/${message.snapshot.index}`;
    default:
      return '';
  }
}

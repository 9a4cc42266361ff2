import type { Log } from '../../engine/log/log.js';
import type { LoggedEntry } from '../../engine/log/entry-reader.js';
import type { Entry } from '../../raft/entry.js';
import type { LoadRequest } from '../../raft/ready.js';
import { kindOfEntry } from '../../replica/command.js';
import type { Group } from '../../replica/group.js';
import type { TurnSchedule } from './turn-schedule.js';

/** Reads for leaders' cores what they have released from memory and a follower still needs. */
export class EntryLoads {
  readonly #log: Log;
  readonly #turns: TurnSchedule;
  /** Entries that were read back. */
  loaded = 0;

  constructor(log: Log, turns: TurnSchedule) {
    this.#log = log;
    this.#turns = turns;
  }

  load(group: Group, { follower, from, to, maxBytes }: LoadRequest): void {
    const { replicaId, raft } = group;
    const termAt = (index: number): number => raft.termAt(index);
    void this.#log.readEntries({ replicaId, from, to, maxBytes, termAt }).then((found) => {
      const entries = found === null ? null : asEntries(found);
      this.loaded += entries?.length ?? 0;
      raft.entriesLoaded(follower, from, entries);
      this.#turns.schedule(group);
    });
  }
}

/** Null: the log has kinds of entries that this version does not know. */
function asEntries(found: readonly LoggedEntry[]): Entry[] | null {
  const entries: Entry[] = [];
  for (const { term, index, revision, kind, data } of found) {
    const known = kindOfEntry(kind);
    if (known === undefined) return null;
    entries.push({ term, index, kind: known, revision, data });
  }
  return entries;
}

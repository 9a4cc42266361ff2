import { table } from '../output.js';
import type { GroupView, NodeView, Overview } from './overview.js';

const MEBIBYTE = 1 << 20;

/** Nodes, then a line about the groups, then the groups themselves: all, or those in trouble. */
export function renderOverview(overview: Overview, allGroups: boolean, nowMs: number): string {
  const { clusterId, revision, nodes, groups, failures } = overview;
  const shown = allGroups ? groups : groups.filter(isInTrouble);
  const parts = [
    `cluster ${clusterId}, revision ${revision}\n`,
    table(
      ['NODE', 'STATE', 'LEADS', 'ROUND TRIP', 'VERSION', 'UPTIME', 'SIZE'],
      nodes.map((node) => nodeRow(node, nowMs)),
    ),
    `${groupsInWords(overview)}\n`,
  ];
  if (shown.length > 0) {
    parts.push(table(['PARTITION', 'LEADER', 'TERM', 'COMMITTED', 'LAG'], shown.map(groupRow)));
  }
  if (failures.length > 0) {
    parts.push(failures.map(({ endpoint, reason }) => `not asked: ${endpoint}: ${reason}\n`).join(''));
  }
  return parts.join('\n');
}

/** One line a group: partition, leader, term, largest lag; for scripts. */
export function renderRaw({ groups }: Overview): string {
  return groups
    .map((group) => [group.partition, group.leader ?? '-', group.term, largestLag(group) ?? '-'].join('\t') + '\n')
    .join('');
}

function groupsInWords({ groups, withoutLeader }: Overview): string {
  const terms = groups.map(({ term }) => term);
  const lags = groups.flatMap((group) => largestLag(group) ?? []);
  const count = `${groups.length} ${groups.length === 1 ? 'partition' : 'partitions'}`;
  const led = withoutLeader.length === 0 ? 'each with a leader' : `${withoutLeader.length} WITHOUT A LEADER`;
  const unknown = groups.length - lags.length - withoutLeader.length;
  const lag = lags.length === 0 ? '' : `, at most ${Math.max(...lags)} entries behind`;
  const rest = unknown === 0 ? '' : ` (${unknown} not known: their leaders were not asked)`;
  return `${count}: ${led}, terms ${Math.min(...terms)} to ${Math.max(...terms)}${lag}${rest}`;
}

function isInTrouble(group: GroupView): boolean {
  return group.leader === null || (largestLag(group) ?? 0) > 0;
}

/** Of the followers behind the leader's log; null when the leader was not asked. */
function largestLag({ followers }: GroupView): number | null {
  return followers === null || followers === undefined ? null : Math.max(0, ...followers.map(({ lag }) => lag));
}

function nodeRow(node: NodeView, nowMs: number): string[] {
  const { id, state, partitionsLed, roundTripMs, version, startedAt, sizeBytes } = node;
  return [
    ...[id, state.replaceAll('_', ' '), String(partitionsLed)],
    roundTripMs === undefined ? '-' : `${roundTripMs.toFixed(1)} ms`,
    version ?? '-',
    startedAt === undefined ? '-' : duration(nowMs - Date.parse(startedAt)),
    sizeBytes === undefined ? '-' : `${(sizeBytes / MEBIBYTE).toFixed(1)} MiB`,
  ];
}

function groupRow({ partition, leader, term, commitIndex, followers }: GroupView): string[] {
  const lags = followers?.map(({ id, state, lag }) => `${id} ${lag}${state === 'replicate' ? '' : ` (${state})`}`);
  return [String(partition), leader ?? 'none', String(term), String(commitIndex), lags?.join(', ') || '-'];
}

/** The two largest units. */
function duration(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const units: [string, number][] = [
    ['d', Math.floor(seconds / 86_400)],
    ['h', Math.floor(seconds / 3600) % 24],
    ['m', Math.floor(seconds / 60) % 60],
    ['s', seconds % 60],
  ];
  const first = units.findIndex(([, count]) => count > 0);
  if (first === -1) return '0s';
  return units
    .slice(first, first + 2)
    .map(([unit, count]) => `${count}${unit}`)
    .join(' ');
}

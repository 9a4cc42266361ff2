import { CairnError, CorruptionError } from '../base/errors.js';
import { crc32c } from '../codec/crc32c.js';
import { readFileSync, replaceFileSync } from '../engine/file-io.js';
import type { Random } from '../ports/random.js';
import type { SyncDisk } from '../ports/disk.js';

/**
 * What a data directory is, in `<data-dir>/identity.json`: the first file of a new directory, written once more when its
 * engine and log exist. One line of JSON, then the CRC32C of that line in hex.
 */
export interface NodeIdentity {
  /** Version of the whole directory's layout. */
  readonly format: number;
  readonly nodeId: string;
  /** 32 hex digits; the cluster's name for itself. */
  readonly clusterId: string;
  /** 32 hex digits; born with the directory: a wiped disk is another incarnation. */
  readonly incarnation: string;
  readonly partitions: number;
  readonly replicationFactor: number;
  /** The nodes that the cluster began with: all groups were born on them. Absent in directories of older versions. */
  readonly members: readonly string[];
  /** Names the log that belongs to the directory, in hex; '' until engine and log exist: nothing was acknowledged before. */
  readonly logId: string;
}

export const DATA_FORMAT = 1;
export const IDENTITY_FILE = 'identity.json';

export interface IdentityWishes {
  readonly nodeId: string;
  /** 0: no wish. */
  readonly partitions: number;
  readonly replicationFactor: number;
  /** For a new directory only; this node alone and a random id unless told. */
  readonly members?: readonly string[];
  readonly clusterId?: string;
}

const DEFAULT_PARTITIONS = 64;
const DEFAULT_REPLICATION_FACTOR = 3;

/** Null when the directory holds no identity yet. Throws on another format, another node, or changed fixed settings. */
export function readIdentity(disk: SyncDisk, directory: string, wishes: IdentityWishes): NodeIdentity | null {
  const path = `${directory}/${IDENTITY_FILE}`;
  if (!disk.exists(path)) return null;
  const text = Buffer.from(readFileSync(disk, path)).toString('utf8');
  const [line = '', checksum = ''] = text.split('\n');
  if (checksum !== checksumOf(line)) {
    throw new CorruptionError(path, `checksum ${checksumOf(line)}`, JSON.stringify(checksum));
  }
  const stored = JSON.parse(line) as NodeIdentity & { readonly members?: readonly string[] };
  const identity: NodeIdentity = { ...stored, members: stored.members ?? [stored.nodeId] };
  if (identity.format !== DATA_FORMAT) {
    throw new CairnError(
      'configuration',
      `${directory} has data format ${identity.format}; this version reads format ${DATA_FORMAT}. ` +
        (identity.format > DATA_FORMAT
          ? 'Start it with the newer version that wrote it.'
          : 'Start it with an older version.'),
    );
  }
  if (identity.nodeId !== wishes.nodeId) {
    throw new CairnError(
      'configuration',
      `${directory} belongs to node "${identity.nodeId}", not "${wishes.nodeId}": set --node-id or another --data-dir`,
    );
  }
  if (wishes.members !== undefined && wishes.members.join() !== identity.members.join()) {
    throw new CairnError(
      'configuration',
      `--cluster: ${directory} belongs to a cluster of ${identity.members.join(', ')}, found ${wishes.members.join(', ')}`,
    );
  }
  refuseChange('partitions', identity.partitions, wishes.partitions, directory);
  refuseChange('replication-factor', identity.replicationFactor, wishes.replicationFactor, directory);
  return identity;
}

function refuseChange(flag: string, stored: number, wished: number, directory: string): void {
  if (wished === 0 || wished === stored) return;
  throw new CairnError(
    'configuration',
    `--${flag} ${wished}: ${directory} was made with ${stored}, which can't be changed afterwards`,
  );
}

export function createIdentity(wishes: IdentityWishes, random: Random): NodeIdentity {
  return {
    format: DATA_FORMAT,
    nodeId: wishes.nodeId,
    clusterId: wishes.clusterId ?? randomId(random),
    incarnation: randomId(random),
    partitions: wishes.partitions === 0 ? DEFAULT_PARTITIONS : wishes.partitions,
    replicationFactor: wishes.replicationFactor === 0 ? DEFAULT_REPLICATION_FACTOR : wishes.replicationFactor,
    members: wishes.members ?? [wishes.nodeId],
    logId: '',
  };
}

/** Makes the identity durable, all or nothing. */
export function writeIdentity(disk: SyncDisk, directory: string, identity: NodeIdentity): void {
  const line = JSON.stringify(identity);
  const path = `${directory}/${IDENTITY_FILE}`;
  replaceFileSync(disk, path, `${path}.new`, Buffer.from(`${line}\n${checksumOf(line)}\n`));
}

function checksumOf(line: string): string {
  return crc32c(Buffer.from(line)).toString(16).padStart(8, '0');
}

function randomId(random: Random): string {
  const bytes = new Uint8Array(16);
  random.fill(bytes);
  return Buffer.from(bytes).toString('hex');
}

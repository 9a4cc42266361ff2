import { readFileSync } from 'node:fs';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { CairnError } from './base/errors.js';
import { parseMembers, type Member } from './cluster/members.js';

/**
 * Every option of `cairn serve`: its flag, its environment variable (CAIRN_ + the flag in capitals), its default, how it
 * is read, and what `--help` says. A flag beats the environment, which beats the file, which beats the default.
 */
export interface OptionDefinition {
  /** Without the leading dashes. The environment variable and the key in a file follow from it. */
  readonly flag: string;
  readonly placeholder: string;
  readonly defaultText: string;
  readonly help: string;
  readonly schema: z.ZodType<unknown, string>;
}

export interface Config {
  readonly nodeId: string;
  readonly dataDir: string;
  readonly host: string;
  readonly advertiseHost: string;
  readonly httpPort: number;
  readonly managementPort: number;
  readonly managementHost: string;
  readonly clientPort: number;
  readonly peerPort: number;
  /** Empty for a node alone. */
  readonly cluster: readonly Member[];
  readonly join: string;
  /** 0: as the data directory says, or 64 for a new one. */
  readonly partitions: number;
  /** 0: as the data directory says, or 3 for a new one. */
  readonly replicationFactor: number;
  readonly memtableSizeBytes: number;
  readonly blockCacheSizeBytes: number;
  readonly logSegmentSizeBytes: number;
  readonly historyWindowMs: number;
  readonly maxValueBytes: number;
  readonly workers: number;
  readonly shutdownTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly corsOrigins: readonly string[];
  readonly logLevel: LogLevel;
}

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

const MEBIBYTE = 1 << 20;
const DURATION_UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

function integer(least: number, most: number): z.ZodType<number, string> {
  return z.string().transform((text, context) => {
    const value = Number(text);
    if (!/^-?\d+$/.test(text) || value < least || value > most) {
      context.addIssue({ code: 'custom', message: `expected an integer from ${least} to ${most}, found "${text}"` });
      return z.NEVER;
    }
    return value;
  });
}

function mebibytes(least: number, most: number): z.ZodType<number, string> {
  return integer(least, most).transform((value) => value * MEBIBYTE);
}

function durationMs(least: number): z.ZodType<number, string> {
  return z.string().transform((text, context) => {
    const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text);
    const value = match === null ? Number.NaN : Math.round(Number(match[1]) * DURATION_UNITS_MS[match[2]!]!);
    if (!(value >= least)) {
      context.addIssue({
        code: 'custom',
        message: `expected a duration of at least ${least}ms such as 500ms, 10s, 10m or 24h, found "${text}"`,
      });
      return z.NEVER;
    }
    return value;
  });
}

function matching(pattern: RegExp, expected: string): z.ZodType<string, string> {
  return z.string().refine((text) => pattern.test(text), {
    error: (issue) => `expected ${expected}, found ${JSON.stringify(issue.input)}`,
  });
}

const port = integer(0, 65_535);

function partitionCount(): z.ZodType<number, string> {
  return integer(1, 256).refine((value) => (value & (value - 1)) === 0, {
    error: 'expected a power of two from 1 to 256',
  });
}

const host = matching(/^[^\s/]+$/, 'a host name or an IP address');

/** In the order in which `--help` lists them. */
export const OPTIONS = {
  nodeId: {
    flag: 'node-id',
    placeholder: '<id>',
    defaultText: 'n1',
    help: 'name of this node, kept in its data directory',
    schema: matching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, '1 to 63 letters, digits, dots, dashes or underscores'),
  },
  dataDir: {
    flag: 'data-dir',
    placeholder: '<path>',
    defaultText: './data',
    help: 'where everything durable lives; one process per directory',
    schema: matching(/./, 'a path'),
  },
  host: {
    flag: 'host',
    placeholder: '<host>',
    defaultText: '127.0.0.1',
    help: 'address to listen on; 0.0.0.0 for all (there is no authentication yet)',
    schema: host,
  },
  advertiseHost: {
    flag: 'advertise-host',
    placeholder: '<host>',
    defaultText: '',
    help: 'host that others reach this node by, shown in its status (default: --host)',
    schema: z.string(),
  },
  httpPort: {
    flag: 'http-port',
    placeholder: '<port>',
    defaultText: '8080',
    help: 'HTTP API; 0 picks a free port',
    schema: port,
  },
  managementPort: {
    flag: 'management-port',
    placeholder: '<port>',
    defaultText: '8081',
    help: 'livez, readyz, metrics, cluster status',
    schema: port,
  },
  managementHost: {
    flag: 'management-host',
    placeholder: '<host>',
    defaultText: '127.0.0.1',
    help: 'address of the management port; loopback unless told otherwise',
    schema: host,
  },
  clientPort: {
    flag: 'client-port',
    placeholder: '<port>',
    defaultText: '9090',
    help: 'binary protocol',
    schema: port,
  },
  peerPort: {
    flag: 'peer-port',
    placeholder: '<port>',
    defaultText: '9091',
    help: 'messages between nodes; a node alone does not open it',
    schema: port,
  },
  cluster: {
    flag: 'cluster',
    placeholder: '<members>',
    defaultText: '',
    help: 'the nodes that a new cluster begins with, the same on each: n1=host:9091,n2=host:9091,n3=host:9091',
    schema: z.string().transform((text, context): readonly Member[] => {
      try {
        return parseMembers(text);
      } catch (error) {
        context.addIssue({ code: 'custom', message: error instanceof Error ? error.message : String(error) });
        return z.NEVER;
      }
    }),
  },
  join: {
    flag: 'join',
    placeholder: '<addresses>',
    defaultText: '',
    help: 'join a running cluster; refused by this version, whose clusters keep the nodes that they began with',
    schema: z.string(),
  },
  partitions: {
    flag: 'partitions',
    placeholder: '<count>',
    defaultText: '',
    help: 'slices of the key space, a power of two up to 256; fixed when the data directory is made (default: 64)',
    schema: partitionCount(),
  },
  replicationFactor: {
    flag: 'replication-factor',
    placeholder: '<count>',
    defaultText: '',
    help: 'copies of each partition once there are enough nodes; fixed when the data directory is made (default: 3)',
    schema: integer(1, 7),
  },
  memtableSizeBytes: {
    flag: 'memtable-size-mb',
    placeholder: '<MiB>',
    defaultText: '100',
    help: 'writes held in memory before they go to a table',
    schema: mebibytes(1, 1024),
  },
  blockCacheSizeBytes: {
    flag: 'block-cache-size-mb',
    placeholder: '<MiB>',
    defaultText: '256',
    help: 'table blocks held in memory',
    schema: mebibytes(1, 65_536),
  },
  logSegmentSizeBytes: {
    flag: 'log-segment-size-mb',
    placeholder: '<MiB>',
    defaultText: '64',
    help: 'size of each write-ahead log file, allocated ahead',
    // A segment has to hold the largest entry, 17 MiB, and its headers.
    schema: mebibytes(18, 1024),
  },
  historyWindowMs: {
    flag: 'history-window',
    placeholder: '<duration>',
    defaultText: '10m',
    help: 'how long old versions can be read with at=',
    schema: durationMs(0),
  },
  maxValueBytes: {
    flag: 'max-value-mb',
    placeholder: '<MiB>',
    defaultText: '1',
    help: 'largest value',
    schema: mebibytes(1, 16),
  },
  workers: {
    flag: 'workers',
    placeholder: '<count>',
    defaultText: '0',
    help: 'threads for compaction, beside the one for flushes; 0: cores - 1, at least 1',
    schema: integer(0, 64),
  },
  shutdownTimeoutMs: {
    flag: 'shutdown-timeout',
    placeholder: '<duration>',
    defaultText: '10s',
    help: 'how long SIGTERM waits for running requests',
    schema: durationMs(1),
  },
  requestTimeoutMs: {
    flag: 'request-timeout',
    placeholder: '<duration>',
    defaultText: '10s',
    help: 'after this a write that is not durable is answered 504, outcome unknown',
    schema: durationMs(1),
  },
  corsOrigins: {
    flag: 'cors-origin',
    placeholder: '<origins>',
    defaultText: '',
    help: 'origins that browsers may call the HTTP API from, separated by commas; off when empty',
    schema: z.string().transform((text) =>
      text
        .split(',')
        .map((origin) => origin.trim())
        .filter((origin) => origin !== ''),
    ),
  },
  logLevel: {
    flag: 'log-level',
    placeholder: '<level>',
    defaultText: 'info',
    help: LOG_LEVELS.join(', '),
    schema: z.string().transform((text, context): LogLevel => {
      const level = LOG_LEVELS.find((known) => known === text);
      if (level === undefined) {
        context.addIssue({ code: 'custom', message: `expected one of ${LOG_LEVELS.join(', ')}, found "${text}"` });
        return z.NEVER;
      }
      return level;
    }),
  },
} as const satisfies Record<keyof Config, OptionDefinition>;

export type OptionName = keyof typeof OPTIONS;
const OPTION_NAMES = Object.keys(OPTIONS) as OptionName[];

export function environmentName(flag: string): string {
  return `CAIRN_${flag.replaceAll('-', '_').toUpperCase()}`;
}

/** Where the values come from. Flags are named as on the command line, without dashes in front. */
export interface ConfigSources {
  readonly flags: Readonly<Record<string, string | undefined>>;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** `--config`: a YAML file whose keys are the flags' names. */
  readonly file?: string | undefined;
}

/** Throws CairnError 'configuration' with one line that names the option, its source, and what was expected and found. */
export function loadConfig(sources: ConfigSources): Config {
  const fileName = sources.file ?? sources.environment['CAIRN_CONFIG'];
  const fileValues = fileName === undefined || fileName === '' ? {} : readConfigFile(fileName);
  refuseUnknown(Object.keys(sources.flags), (name) => `unknown option --${name}`);
  refuseUnknown(Object.keys(fileValues), (name) => `${fileName}: unknown option "${name}"`);
  const values: Partial<Record<OptionName, unknown>> = {};
  for (const name of OPTION_NAMES) {
    const option: OptionDefinition = OPTIONS[name];
    const variable = environmentName(option.flag);
    const fromFlag = sources.flags[option.flag];
    const fromEnvironment = sources.environment[variable];
    const [text, source] =
      fromFlag !== undefined
        ? [fromFlag, `--${option.flag}`]
        : fromEnvironment !== undefined && fromEnvironment !== ''
          ? [fromEnvironment, variable]
          : fileValues[option.flag] !== undefined
            ? [fileValues[option.flag]!, `${fileName}: ${option.flag}`]
            : [option.defaultText, ''];
    if (text === '' && option.defaultText === '' && source === '') {
      values[name] = emptyValue(name);
      continue;
    }
    const result = option.schema.safeParse(text);
    if (!result.success) throw new CairnError('configuration', `${source}: ${result.error.issues[0]?.message}`);
    values[name] = result.data;
  }
  const config = values as unknown as Config;
  checkCluster(config);
  return config.advertiseHost === '' ? { ...config, advertiseHost: config.host } : config;
}

/** The value of an option that has no default and was not given. */
function emptyValue(name: OptionName): unknown {
  if (name === 'partitions' || name === 'replicationFactor') return 0;
  return name === 'corsOrigins' || name === 'cluster' ? [] : '';
}

function refuseUnknown(names: readonly string[], message: (name: string) => string): void {
  const known = new Set(OPTION_NAMES.map((name): string => OPTIONS[name].flag));
  for (const name of names) if (!known.has(name)) throw new CairnError('configuration', message(name));
}

function checkCluster(config: Config): void {
  if (config.join !== '') {
    throw new CairnError(
      'configuration',
      '--join: this version has no change of members; start new clusters with --cluster',
    );
  }
  const { cluster, nodeId } = config;
  if (cluster.length > 0 && !cluster.some((member) => member.nodeId === nodeId)) {
    const names = cluster.map((member) => member.nodeId).join(', ');
    throw new CairnError(
      'configuration',
      `--cluster: expected this node, "${nodeId}" (--node-id), among its members, found ${names}`,
    );
  }
}

function readConfigFile(path: string): Record<string, string> {
  let document: unknown;
  try {
    document = parseYaml(readFileSync(path, 'utf8'));
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error);
    throw new CairnError('configuration', `--config ${path}: ${reason}`, { cause: error });
  }
  if (document === null) return {};
  if (typeof document !== 'object' || Array.isArray(document)) {
    throw new CairnError('configuration', `--config ${path}: expected "option: value" lines, found ${typeof document}`);
  }
  const values: Record<string, string> = {};
  for (const [name, value] of Object.entries(document)) {
    if (typeof value === 'object') {
      throw new CairnError(
        'configuration',
        `--config ${path}: ${name}: expected one value, found ${JSON.stringify(value)}`,
      );
    }
    values[name] = String(value);
  }
  return values;
}

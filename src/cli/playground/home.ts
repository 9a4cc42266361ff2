import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DataDirectoryLock } from '../../platform/data-directory-lock.js';
import { UsageError } from '../exit-code.js';
import { checkPorts, choosePorts, PORT_NAMES, type Ports } from './addresses.js';

const PLAN_FILE = 'playground.json';

export interface HomeOptions {
  /** Null: a temporary directory. */
  readonly directory: string | null;
  /** A temporary directory stays too. */
  readonly keep: boolean;
  /** Undefined: as the directory says, or `defaultNodes` for a new one. */
  readonly nodes: number | undefined;
  readonly defaultNodes: number;
  /** As in `choosePorts`; undefined: as the directory says. */
  readonly firstPort: number | undefined;
}

/** Where a playground lives: below one directory, a folder and a log file for each node. */
export interface Home {
  readonly directory: string;
  readonly ports: readonly Ports[];
  readonly staysBehind: boolean;
  dataDirectory(nodeId: string): string;
  logFile(nodeId: string): string;
  /** Removes a directory that nobody wants to keep. Returns why it stays, or null. */
  remove(): string | null;
  /** The same when nothing can be waited for any more. */
  removeAtOnce(): void;
}

/**
 * The members of a cluster, their peer ports included, are part of its identity. So a directory remembers its ports, and a later
 * run in it has the same ones.
 */
export async function openHome(options: HomeOptions): Promise<Home> {
  const given = options.directory === null ? null : path.resolve(options.directory);
  const known = given === null ? null : readPlan(given);
  if (known !== null) {
    refuseOther('--nodes', options.nodes, known.length, given!);
    refuseOther('--port', options.firstPort, known[0]!.http, given!);
    await checkPorts(known);
  }
  const ports = known ?? (await choosePorts(options.nodes ?? options.defaultNodes, options.firstPort));
  const directory = given ?? mkdtempSync(path.join(tmpdir(), 'cairn-playground-'));
  const staysBehind = given !== null || options.keep;
  if (known === null) {
    try {
      mkdirSync(directory, { recursive: true });
      writeFileSync(path.join(directory, PLAN_FILE), `${JSON.stringify({ nodes: ports })}\n`);
    } catch (error) {
      throw new UsageError(`${directory} can't be used: ${(error as Error).message}`);
    }
  }
  const dataDirectory = (nodeId: string): string => path.join(directory, nodeId);
  const removeAtOnce = (): void => {
    if (!staysBehind) rmSync(directory, { recursive: true, force: true });
  };
  return {
    directory,
    ports,
    staysBehind,
    dataDirectory,
    logFile: (nodeId) => path.join(directory, `${nodeId}.log`),
    remove() {
      if (staysBehind) return null;
      for (const [i] of ports.entries()) {
        const data = dataDirectory(`n${i + 1}`);
        if (existsSync(data) && isInUse(data)) return `${data} is in use by a node that was started apart`;
      }
      removeAtOnce();
      return null;
    },
    removeAtOnce,
  };
}

function isInUse(data: string): boolean {
  try {
    DataDirectoryLock.acquire(data).release();
    return false;
  } catch {
    return true;
  }
}

function refuseOther(flag: string, wanted: number | undefined, known: number, directory: string): void {
  if (wanted === undefined || wanted === known) return;
  throw new UsageError(
    `${flag} ${wanted}: ${directory} has a playground with ${known}; leave ${flag} out, or take another directory`,
  );
}

/** The ports of each node, or null when no playground was here before. */
function readPlan(directory: string): Ports[] | null {
  const file = path.join(directory, PLAN_FILE);
  if (!existsSync(file)) return null;
  try {
    const { nodes } = JSON.parse(readFileSync(file, 'utf8')) as { nodes: Ports[] };
    const isWhole = (ports: Ports): boolean => PORT_NAMES.every((name) => Number.isInteger(ports[name]));
    if (!Array.isArray(nodes) || nodes.length === 0 || !nodes.every(isWhole))
      throw new Error('expected ports of nodes');
    return nodes;
  } catch (error) {
    throw new UsageError(`${file} is not from a playground: ${(error as Error).message}`);
  }
}

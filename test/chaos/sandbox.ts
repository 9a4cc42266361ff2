import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const COMMAND = fileURLToPath(new URL('./command.js', import.meta.url));
const INSIDE = 'CAIRN_CHAOS_INSIDE';
const TERMINATED = 143;

/** What a run in namespaces needs: links between them, rules for packets, a small disk. */
const TRIAL = [
  'ip link set lo up',
  'ip link add br9 type bridge',
  'ip link add v9 type veth peer name w9',
  'iptables -A INPUT -s 10.77.0.9 -j DROP',
  'mount -t tmpfs -o size=1m tmpfs /mnt',
].join(' && ');

function unshareFlags(): string[] {
  const flags = ['--net', '--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child', '--mount-proc'];
  return process.getuid?.() === 0 ? flags : ['--user', '--map-root-user', ...flags];
}

export function isInside(): boolean {
  return process.env[INSIDE] !== undefined;
}

/** Why a run can't have network, mount and process namespaces of its own; null when it can. Changes nothing on the machine. */
export function sandboxObstacle(): string | null {
  if (process.platform !== 'linux') return 'namespaces are for Linux';
  const { status, stderr, error } = spawnSync('unshare', [...unshareFlags(), 'sh', '-c', TRIAL]);
  if (status === 0) return null;
  return (error?.message ?? stderr.toString()).trim().split('\n').at(-1) ?? `exit code ${status}`;
}

/**
 * The same command again, in namespaces of its own: links, rules, mounts and processes that it leaves behind end with it,
 * however it ends. Resolves with its exit code.
 */
export async function runInside(parameters: readonly string[]): Promise<number> {
  // It ends when the pipe to its standard input does, so also when this process is killed.
  const child = spawn('unshare', [...unshareFlags(), process.execPath, COMMAND, ...parameters], {
    stdio: ['pipe', 'inherit', 'inherit'],
    env: { ...process.env, [INSIDE]: '1' },
  });
  const stop = (): void => void child.stdin.end();
  process.on('SIGINT', stop).on('SIGTERM', stop);
  const [code] = (await once(child, 'close')) as [number | null];
  process.off('SIGINT', stop).off('SIGTERM', stop);
  return code ?? 1;
}

/** Called inside: process 1 of a namespace has no default for signals, and must not outlive who started it. */
export function endWithStarter(): void {
  const end = (): void => process.exit(TERMINATED);
  process.on('SIGTERM', end).on('SIGINT', () => undefined);
  process.stdin.on('end', end).on('error', end).resume();
  process.stdin.unref();
}

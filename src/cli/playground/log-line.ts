const LEVELS: Readonly<Record<number, string>> = {
  10: 'trace',
  20: 'debug',
  30: 'info',
  40: 'warn',
  50: 'error',
  60: 'fatal',
};
const WARN = 40;

export interface LogLine {
  /** Warnings and worse, and what is no line of a log. */
  readonly isTrouble: boolean;
  readonly text: string;
}

/** A line of a node's log as people read it: level, message, the rest as it is. */
export function readLogLine(line: string): LogLine {
  let members: unknown;
  try {
    members = JSON.parse(line);
  } catch {
    return { isTrouble: true, text: line };
  }
  if (typeof members !== 'object' || members === null || !('level' in members)) return { isTrouble: true, text: line };
  const { level, time, msg, err, ...rest } = members as Record<string, unknown>;
  const cause = typeof err === 'object' && err !== null && 'message' in err ? `: ${String(err.message)}` : '';
  const more = Object.keys(rest).length === 0 ? '' : ` ${JSON.stringify(rest)}`;
  const clock = typeof time === 'string' ? `${time.slice(11, 23)} ` : '';
  return {
    isTrouble: Number(level) >= WARN,
    text: `${clock}${LEVELS[Number(level)] ?? String(level)} ${typeof msg === 'string' ? msg : ''}${cause}${more}`,
  };
}

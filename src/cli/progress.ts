import { Presets, SingleBar } from 'cli-progress';
import type { Terminal } from './output.js';

export interface Progress {
  update(done: number): void;
  stop(): void;
}

const NO_PROGRESS: Progress = { update() {}, stop() {} };

/** A bar on stderr when that is a terminal; nothing otherwise. `total` 0: not known, a count is shown. */
export function startProgress(terminal: Terminal, label: string, total: number): Progress {
  if (terminal.stderr.isTTY !== true) return NO_PROGRESS;
  const format = total === 0 ? `${label} {value}` : `${label} {bar} {percentage}% {value}/{total}`;
  const bar = new SingleBar(
    { format, stream: terminal.stderr, hideCursor: true, clearOnComplete: true },
    Presets.shades_classic,
  );
  bar.start(total, 0);
  return { update: (done) => bar.update(done), stop: () => bar.stop() };
}

import os from 'node:os';
import type { Figure, Series } from './row.js';
import { median, verdict } from './statistics.js';

/** How a row ended: with figures, or with the reason why there are none. */
export interface RowResult {
  readonly name: string;
  readonly figures: readonly Figure[];
  readonly skipped: string | null;
  readonly failed: string | null;
}

export function table(results: readonly RowResult[]): string {
  const head = ['figure', 'ours', 'against', 'value', 'reach / aim', ''];
  const rows = results.flatMap(({ name, figures, skipped, failed }) => [
    ...figures.map(lineOf),
    ...(skipped === null ? [] : [[name, '', '', '', '', `skipped: ${skipped}`]]),
    ...(failed === null ? [] : [[name, '', '', '', '', `FAILED: ${failed.split('\n')[0] ?? ''}`]]),
  ]);
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}

function lineOf(figure: Figure): string[] {
  const { title, against, value, unit, bar, ours, reference } = figure;
  const judged = { aim: 'pass (aim)', reach: 'pass', short: bar.stretch === true ? 'stretch' : 'SHORT' }[
    verdict(figure)
  ];
  const sign = bar.better === 'higher' ? '>=' : '<=';
  return [
    title,
    seriesText(ours),
    reference === null ? against : `${against}: ${seriesText(reference)}`,
    `${number(value)} ${unit}`,
    `${sign} ${number(bar.reach)} / ${number(bar.aim)}`,
    judged,
  ];
}

function seriesText({ rounds, unit }: Series): string {
  return `${number(median(rounds))} ${unit}`;
}

function number(value: number): string {
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en');
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 2);
}

export function json(results: readonly RowResult[], quick: boolean): string {
  const rows = results.map((result) => ({
    ...result,
    figures: result.figures.map((figure) => ({ ...figure, verdict: verdict(figure) })),
  }));
  const machine = {
    node: process.version,
    platform: `${os.platform()} ${os.arch()}`,
    cpus: os.availableParallelism(),
    cpu: os.cpus()[0]?.model,
  };
  return `${JSON.stringify({ quick, machine, rows }, null, 2)}\n`;
}

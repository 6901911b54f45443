import type { MatmulResult, StepResult, Suite } from './measure.ts';
import type { DecodeResult } from './measureDecode.ts';
import { digits, isReached, reachedShare, type TargetRow, withUnit } from './targetRow.ts';
import type { KernelTime } from './watch.ts';

export interface BenchReport {
  readonly adapter: string;
  readonly software: boolean;
  readonly node: string;
  /** Processor cores, and how many processes wanted one when the bench began (0 on an idle machine). */
  readonly cores: number;
  readonly load: number;
  readonly versions: Readonly<Record<string, string>>;
  readonly steps: readonly Suite<StepResult>[];
  readonly matmuls: readonly Suite<MatmulResult>[];
  readonly decodes: readonly Suite<DecodeResult>[];
  /** Milliseconds a step by case, or why there are none. */
  readonly torch: { readonly ms: Readonly<Record<string, number>>; readonly reason?: string };
  /** A process of its own without shader caches, from opening the device to the first loss. */
  readonly coldStart?: { readonly ms: number; readonly pipelines: number };
  /** Time of the peer over ours, by suite and peer: above 1 we are faster. */
  readonly ratios: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

/** The name of our engine among the others. */
export const OURS = 'alloy';

/** Whether absolute figures of the run mean anything. */
export function loadWords({ cores, load }: Pick<BenchReport, 'cores' | 'load'>): string {
  const busy = load > 0.3 * cores ? ', busy: ratios count, absolute figures do not' : '';
  return `${cores} cores, load ${load.toFixed(1)} at the beginning${busy}`;
}

/** Time of each peer over ours. */
export function ratiosOf<R extends { readonly engine: string }>(
  results: readonly R[],
  ms: (result: R) => number,
): Record<string, number> {
  const ours = results.find(({ engine }) => engine === OURS);
  if (!ours) return {};
  const peers = results.filter((result) => result !== ours);
  return Object.fromEntries(peers.map((peer) => [peer.engine, ms(peer) / ms(ours)]));
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, column) =>
          column === 0 || rows[0]?.[column] === '' || rows[0]?.[column] === 'from'
            ? cell.padEnd(widths[column] ?? 0)
            : cell.padStart(widths[column] ?? 0),
        )
        .join('  '),
    )
    .map((line) => line.trimEnd())
    .join('\n');
}

const times = (ratio: number | undefined) => (ratio === undefined ? '' : `${ratio.toFixed(2)}x`);

export function stepTable({ results }: Suite<StepResult>): string {
  const ratios = ratiosOf(results, ({ medianMs }) => medianMs);
  return table([
    ['engine', 'first ms', 'ms a step', 'GFLOP/s', 'our speed-up', 'losses'],
    ...results.map((one) => [
      one.engine,
      one.firstMs.toFixed(0),
      digits(one.medianMs),
      Number.isNaN(one.gflops) ? '' : digits(one.gflops),
      times(ratios[one.engine]),
      one.losses.map((loss) => loss.toFixed(5)).join(' '),
    ]),
  ]);
}

export function decodeTable({ results }: Suite<DecodeResult>): string {
  const ratios = ratiosOf(results, ({ msPerToken }) => msPerToken);
  return table([
    ['engine', 'first ms', 'ms a token', 'tokens/s', 'our speed-up'],
    ...results.map((one) => [
      one.engine,
      one.firstMs.toFixed(0),
      digits(one.msPerToken),
      digits(one.tokensPerSecond),
      times(ratios[one.engine]),
    ]),
  ]);
}

const BAR = 24;

/** The table of targets with a bar for each: full where the target is reached. */
export function targetTable(rows: readonly TargetRow[]): string {
  return table([
    ['what', 'target', 'now', '', 'from'],
    ...rows.map((row) => [
      row.what,
      row.target === undefined ? '–' : `${row.less ? '≤' : '≥'} ${withUnit(row.target, row.unit)}`,
      row.value === undefined ? '–' : withUnit(row.value, row.unit),
      bar(row),
      `${isReached(row) === false ? 'MISSED  ' : ''}${row.note}`,
    ]),
  ]);
}

function bar(row: TargetRow): string {
  const share = reachedShare(row);
  if (share === undefined) return '';
  const filled = Math.round(BAR * Math.min(1, share));
  return `${'█'.repeat(filled)}${'░'.repeat(BAR - filled)}`;
}

export function matmulTable({ results }: Suite<MatmulResult>): string {
  const ratios = ratiosOf(results, ({ bestMs }) => bestMs);
  return table([
    ['engine', 'ms', 'GFLOP/s', 'our speed-up', 'error'],
    ...results.map((one) => [
      one.engine,
      digits(one.bestMs),
      digits(one.gflops),
      times(ratios[one.engine]),
      one.error.toExponential(1),
    ]),
  ]);
}

/** Kernels by time, with the share of each; those below half a percent together. */
export function profileTable(kernels: readonly KernelTime[]): string {
  const total = kernels.reduce((sum, { ms }) => sum + ms, 0);
  const large = kernels.filter(({ ms }) => ms >= 0.005 * total);
  const rest = kernels.filter((one) => !large.includes(one));
  const sum = (of: (one: KernelTime) => number) => rest.reduce((all, one) => all + of(one), 0);
  const rows = [
    ...large,
    { kernel: `${rest.length} others`, dispatches: sum((one) => one.dispatches), ms: sum(({ ms }) => ms) },
  ];
  return table([
    ['kernel', 'dispatches', 'ms', 'share'],
    ...rows.map(({ kernel, dispatches, ms }) => [
      kernel,
      `${dispatches}`,
      digits(ms),
      `${((100 * ms) / total).toFixed(1)} %`,
    ]),
  ]);
}

import type { MatmulResult, StepResult, Suite } from './measure.ts';

export interface BenchReport {
  readonly adapter: string;
  readonly software: boolean;
  readonly node: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly steps: readonly Suite<StepResult>[];
  readonly matmuls: readonly Suite<MatmulResult>[];
  /** Time of the peer over ours, by suite and peer: above 1 we are faster. */
  readonly ratios: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

const OURS = 'alloy';

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
          column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
        )
        .join('  '),
    )
    .map((line) => line.trimEnd())
    .join('\n');
}

const times = (ratio: number | undefined) => (ratio === undefined ? '' : `${ratio.toFixed(2)}x`);
const digits = (value: number) => value.toPrecision(value >= 100 ? 4 : 3);

export function stepTable({ results }: Suite<StepResult>): string {
  const ratios = ratiosOf(results, ({ medianMs }) => medianMs);
  return table([
    ['engine', 'first ms', 'ms a step', 'GFLOP/s', 'our speed-up', 'losses'],
    ...results.map((one) => [
      one.engine,
      one.firstMs.toFixed(0),
      digits(one.medianMs),
      digits(one.gflops),
      times(ratios[one.engine]),
      one.losses.map((loss) => loss.toFixed(5)).join(' '),
    ]),
  ]);
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

/** Where a suite's numbers lie on a line: near enough that the models that are compared can be told apart. */
import type { ReportRow } from '../../pipeline/protocol.ts';

/** Nats per byte. */
export interface ReportScale {
  readonly low: number;
  readonly high: number;
}

type Bounds = Pick<ReportRow, 'role' | 'low' | 'high'>;

/** How much wider than what SFT-only and the merged models take a scale may become to show another model. */
const WIDEST = 4;
/** Empty room at both ends, as a share of the whole. */
const MARGIN = 0.04;
/** Of the value, where all compared models are one point. */
const NARROWEST = 0.02;

/**
 * Holds SFT-only and the merged models with their intervals, and of the others those that do not push these together;
 * the rest lies beyond an end.
 */
export function reportScale(rows: readonly Bounds[]): ReportScale {
  const compared = rows.filter(({ role }) => role === 'sft' || role === 'merged');
  const core = joined(compared.length > 0 ? compared : rows);
  const size = Math.max(core.high - core.low, NARROWEST * Math.abs(core.high), Number.MIN_VALUE);
  let scale = core;
  const others = rows
    .filter((row) => !compared.includes(row))
    .map((row) => ({ row, span: spanOf(joined([core, row])) }))
    .sort((a, b) => a.span - b.span);
  for (const { row } of others) {
    const wider = joined([scale, row]);
    if (spanOf(wider) <= WIDEST * size) scale = wider;
  }
  const room = MARGIN * Math.max(spanOf(scale), size);
  return { low: scale.low - room, high: scale.high + room };
}

/** 0 at the left end, 1 at the right one; outside of both for what is beyond. */
export function placeOf(value: number, { low, high }: ReportScale): number {
  return (value - low) / (high - low);
}

/** The ends in as few digits as tell them apart. */
export function scaleLabels({ low, high }: ReportScale): readonly [string, string] {
  const digits = Math.min(4, Math.max(2, Math.ceil(0.7 - Math.log10(high - low))));
  return [Math.max(0, low).toFixed(digits), high.toFixed(digits)];
}

const spanOf = ({ low, high }: ReportScale) => high - low;

function joined(all: readonly ReportScale[]): ReportScale {
  return { low: Math.min(...all.map(({ low }) => low)), high: Math.max(...all.map(({ high }) => high)) };
}

/** Arithmetic of the loss charts: smoothing over the whole series, and thinning that stands still while data comes in. */
import type { LossPart, LossSeries } from '../state/losses.ts';

/** What uPlot draws: one x column and two y columns (raw, smoothed) a target. */
export interface CurveTable {
  readonly x: readonly number[];
  readonly raw: readonly (readonly (number | null)[])[];
  readonly smooth: readonly (readonly (number | null)[])[];
}

const mostBins = 600;

/**
 * Exponential moving average without the pull of its start: s_t = Σ (1−β) β^(t−i) x_i / (1 − β^t).
 * A value that is not finite leaves the average as it was.
 */
export function smoothed(values: ArrayLike<number>, length: number, beta: number): Float64Array {
  const result = new Float64Array(length);
  let average = 0;
  let weight = 0;
  for (let at = 0; at < length; at++) {
    const value = values[at] ?? Number.NaN;
    if (Number.isFinite(value)) {
      average = beta * average + (1 - beta) * value;
      weight = beta * weight + (1 - beta);
    }
    result[at] = weight > 0 ? average / weight : Number.NaN;
  }
  return result;
}

/** The bin of a step, a power of two that keeps a curve under 600 bins; bins are anchored at step 0, so they stay put. */
export function binSteps(lastStep: number): number {
  let size = 1;
  while (lastStep / size > mostBins) size *= 2;
  return size;
}

export function lastStepOf(series: readonly LossSeries[]): number {
  return Math.max(0, ...series.map((own) => own.steps[own.length - 1] ?? 0));
}

/** Every target on one x axis; where a bin holds several steps the raw curve keeps its lowest and its highest value. */
export function curveTable(series: readonly LossSeries[], part: LossPart, beta: number): CurveTable {
  const lastStep = lastStepOf(series);
  const size = binSteps(lastStep);
  const points = size === 1 ? 1 : 2;
  const bins = lastStep === 0 ? 0 : Math.floor(lastStep / size) + 1;
  const x = Array.from({ length: bins * points }, (_, at) =>
    size === 1 ? at : (Math.floor(at / 2) + (at % 2 === 0 ? 0.25 : 0.75)) * size,
  );
  const raw: (number | null)[][] = [];
  const smooth: (number | null)[][] = [];
  for (const own of series) {
    const rawColumn = new Array<number | null>(x.length).fill(null);
    const smoothColumn = new Array<number | null>(x.length).fill(null);
    const averages = smoothed(own[part], own.length, beta);
    for (let at = 0; at < own.length; at++) {
      const bin = Math.floor((own.steps[at] ?? 0) / size) * points;
      const value = own[part][at] ?? Number.NaN;
      if (Number.isFinite(value)) keepRange(rawColumn, bin, points, value);
      const average = averages[at] ?? Number.NaN;
      for (let i = 0; i < points; i++) smoothColumn[bin + i] = Number.isFinite(average) ? average : null;
    }
    raw.push(rawColumn);
    smooth.push(smoothColumn);
  }
  return { x, raw, smooth };
}

function keepRange(column: (number | null)[], bin: number, points: number, value: number): void {
  if (points === 1) {
    column[bin] = value;
    return;
  }
  column[bin] = Math.min(column[bin] ?? value, value);
  column[bin + 1] = Math.max(column[bin + 1] ?? value, value);
}

/** The point of a series at a step, or the last one before it. */
export function valueAt(own: LossSeries, part: LossPart, step: number | undefined): number | undefined {
  if (own.length === 0) return undefined;
  if (step === undefined) return own[part][own.length - 1];
  let low = 0;
  let high = own.length - 1;
  if ((own.steps[0] ?? 0) > step) return undefined;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if ((own.steps[middle] ?? 0) <= step) low = middle;
    else high = middle - 1;
  }
  return own[part][low];
}

/** How many steps of a run gave a loss that is not a number. */
export function brokenSteps(series: readonly LossSeries[]): number {
  let count = 0;
  for (const own of series) {
    for (let at = 0; at < own.length; at++) if (!Number.isFinite(own.total[at] ?? 0)) count++;
  }
  return count;
}

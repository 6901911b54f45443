/**
 * The loss curves of a run, outside the store: a training step every few milliseconds must not re-render React.
 * One growing column of numbers a target; `lossPulse` tells the charts at most once a frame.
 */
import { createPulse } from './pulse.ts';

export const lossParts = ['total', 'supervised', 'distillation'] as const;
export type LossPart = (typeof lossParts)[number];

export interface LossPoint {
  readonly target: string;
  /** Counted from 1. */
  readonly step: number;
  readonly total: number;
  readonly supervised: number;
  readonly distillation: number;
  readonly learningRate: number;
}

export interface LossSeries {
  readonly target: string;
  length: number;
  steps: Float64Array;
  /** Nats per token. */
  total: Float64Array;
  supervised: Float64Array;
  distillation: Float64Array;
  learningRate: Float64Array;
}

const columns = ['steps', 'total', 'supervised', 'distillation', 'learningRate'] as const;

export const lossPulse = createPulse();
const series = new Map<string, LossSeries>();

/** In the order in which the targets were trained. */
export function lossSeries(): readonly LossSeries[] {
  return [...series.values()];
}

export function resetLosses(): void {
  series.clear();
  lossPulse.touch();
}

/** Adds a point; a step that was already there (a resumed run repeats some) cuts off what followed it. */
export function addLoss(point: LossPoint): void {
  let own = series.get(point.target);
  if (!own) {
    own = { target: point.target, length: 0, ...blank(256) };
    series.set(point.target, own);
  }
  while (own.length > 0 && (own.steps[own.length - 1] ?? 0) >= point.step) own.length--;
  if (own.length === own.steps.length) grow(own);
  const at = own.length++;
  own.steps[at] = point.step;
  own.total[at] = point.total;
  own.supervised[at] = point.supervised;
  own.distillation[at] = point.distillation;
  own.learningRate[at] = point.learningRate;
  lossPulse.touch();
}

function blank(size: number) {
  return {
    steps: new Float64Array(size),
    total: new Float64Array(size),
    supervised: new Float64Array(size),
    distillation: new Float64Array(size),
    learningRate: new Float64Array(size),
  };
}

function grow(own: LossSeries): void {
  const larger = blank(own.steps.length * 2);
  for (const column of columns) {
    larger[column].set(own[column]);
    own[column] = larger[column];
  }
}

/** One line of the table of targets: a figure that is to reach a mark on this kind of adapter. */
export interface TargetRow {
  readonly what: string;
  readonly unit: '×' | '%' | 's' | 'ms' | 'tokens/s';
  /** Undefined where there is no target on this kind of adapter. */
  readonly target: number | undefined;
  /** Whether a smaller figure is better. */
  readonly less: boolean;
  /** Undefined where it could not be measured; then `note` says why. */
  readonly value: number | undefined;
  /** What it was worked out from. */
  readonly note: string;
}

export function isReached({ target, value, less }: TargetRow): boolean | undefined {
  if (target === undefined || value === undefined) return undefined;
  return less ? value <= target : value >= target;
}

/** Three digits, or all before the point. */
export function digits(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

export function withUnit(value: number, unit: TargetRow['unit']): string {
  return unit === '×' ? `${value.toFixed(2)}×` : `${digits(value)} ${unit}`;
}

/** How much of the target is reached, 1 for all of it; undefined without a target or a figure. */
export function reachedShare({ target, value, less }: TargetRow): number | undefined {
  if (target === undefined || value === undefined) return undefined;
  return less ? target / value : value / target;
}

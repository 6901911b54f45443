/** Pure arithmetic of the merge-weight editor: which cells a gesture means, and what an operation makes of them. */
import type { MergeView } from '../../pipeline/protocol.ts';

export type WeightOperation = 'set' | 'add' | 'multiply';

/** Weights are kept to four decimals, so that repeated steps of 0.01 stay on the grid. */
export function operate(base: number, operation: WeightOperation, operand: number): number {
  const value = operation === 'set' ? operand : operation === 'add' ? base + operand : base * operand;
  return Math.round(value * 1e4) / 1e4;
}

/** The weights after an operation on the selected cells of `base`. */
export function operateOn(
  base: readonly number[],
  selection: ReadonlySet<number>,
  operation: WeightOperation,
  operand: number,
): readonly number[] {
  return base.map((weight, index) => (selection.has(index) ? operate(weight, operation, operand) : weight));
}

/** Position of every cell of a view: `at(source, layer, matrix)` → index into `cells`, or −1. */
export function indexCells(view: MergeView) {
  const rows = new Map<string, number>();
  view.cells.forEach((cell, index) => {
    rows.set(`${cell.source} ${cell.layer} ${cell.matrix}`, index);
  });
  return (source: number, layer: number, matrix: string) => rows.get(`${source} ${layer} ${matrix}`) ?? -1;
}

/** Every cell inside the box that two corners span: sources, layers and matrices each from one corner to the other. */
export function boxBetween(view: MergeView, from: number, to: number): readonly number[] {
  const a = view.cells[from];
  const b = view.cells[to];
  if (!a || !b) return [];
  const columns = [view.matrices.indexOf(a.matrix), view.matrices.indexOf(b.matrix)];
  const inside = (value: number, one: number, other: number) =>
    value >= Math.min(one, other) && value <= Math.max(one, other);
  return view.cells.flatMap((cell, index) =>
    inside(cell.source, a.source, b.source) &&
    inside(cell.layer, a.layer, b.layer) &&
    inside(view.matrices.indexOf(cell.matrix), columns[0] ?? 0, columns[1] ?? 0)
      ? [index]
      : [],
  );
}

/** All cells that fit the given parts. */
export function cellsWhere(
  view: MergeView,
  where: { readonly source?: number; readonly layer?: number; readonly matrix?: string },
): readonly number[] {
  return view.cells.flatMap((cell, index) =>
    (where.source === undefined || cell.source === where.source) &&
    (where.layer === undefined || cell.layer === where.layer) &&
    (where.matrix === undefined || cell.matrix === where.matrix)
      ? [index]
      : [],
  );
}

/** Cells whose weight is no longer what the method computed. */
export function overridden(view: MergeView, weights: readonly number[]): readonly number[] {
  return view.cells.flatMap((cell, index) =>
    Math.abs((weights[index] ?? cell.weight) - cell.computed) > 5e-5 ? [index] : [],
  );
}

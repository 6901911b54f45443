import { positionsBackward, positionsForward } from '../../kernels/positions.ts';
import type { Graph } from '../graph.ts';
import { elementsOf, type Tensor } from '../tensor.ts';

/** Adds a learned position to every row: `table` `[positions, D]`, row r stands at `r % length` plus `state[0]`. */
export function addPositions(
  graph: Graph,
  x: Tensor,
  table: Tensor,
  options: { readonly rows: number; readonly length: number; readonly state: Tensor | undefined },
): Tensor {
  const { rows, length, state } = options;
  const width = x.bytes / 4 / rows;
  const shape = { rows, tokens: length, width, positions: elementsOf(table) / width };
  const y = graph.tensor('placed', x.shape, x.needsGradient || table.needsGradient);
  graph.emit(positionsForward({ x, table, state, y }, shape));
  graph.onBackward([y], (gradients) => {
    const dy = gradients.take(y);
    if (table.gradient) graph.emit(positionsBackward({ dy, dtable: table.gradient }, shape));
    gradients.pass(x, dy);
  });
  return y;
}

import { embeddingBackward, embeddingForward } from '../../kernels/embedding.ts';
import { required } from '../../util/errors.ts';
import type { Graph } from '../graph.ts';
import { isTrainable, type Tensor, type Weight } from '../tensor.ts';

/**
 * Rows of a table by token id, times `scale`: `[rows, D]`. A trainable table needs `segments`, the tokens sorted on
 * the host for every batch (`tokenSegments`).
 */
export function embed(
  graph: Graph,
  table: Weight,
  tokens: Tensor,
  options: { readonly rows: number; readonly scale: number; readonly segments: Tensor | undefined },
): Tensor {
  const { rows, scale } = options;
  const y = graph.tensor('embedded', [rows, table.cols], isTrainable(table));
  const shapeOf = (chunk: Weight['chunks'][number]) => ({
    rows,
    width: table.cols,
    rowStart: chunk.rowStart,
    rowCount: chunk.rows,
    scale,
  });
  for (const chunk of table.chunks) {
    const buffers = { tokens, w: chunk.data, y, ...(chunk.scales && { scales: chunk.scales }) };
    graph.emit(embeddingForward(buffers, shapeOf(chunk), table.format));
  }
  graph.onBackward([y], (gradients) => {
    const dy = gradients.take(y);
    const segments = required(options.segments, 'token segments of a trainable embedding');
    for (const chunk of table.chunks) {
      const dw = required(chunk.data.gradient, 'embedding gradient');
      graph.emit(embeddingBackward({ dy, segments, dw }, shapeOf(chunk), true, graph.tuning));
    }
  });
  return y;
}

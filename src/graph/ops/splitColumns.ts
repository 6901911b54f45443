import { putColumns, takeColumns } from '../../kernels/columns.ts';
import { AlloyError } from '../../util/errors.ts';
import type { Graph } from '../graph.ts';
import type { Tensor } from '../tensor.ts';

/** Which columns make a part: `groups` runs of `width`, `groupStride` apart from `offset` on. */
export interface Part {
  readonly name: string;
  readonly offset: number;
  readonly groups: number;
  readonly groupStride: number;
  readonly width: number;
}

/** Parts of fused rows `[rows, stride]`, which together take every column once: `[rows, groups · width]` each. */
export function splitColumns(graph: Graph, x: Tensor, stride: number, parts: readonly Part[]): Tensor[] {
  const columns = parts.reduce((sum, { groups, width }) => sum + groups * width, 0);
  if (columns !== stride) throw new AlloyError('internal', `${columns} columns of ${stride} are taken`);
  const rows = x.bytes / 4 / stride;
  const shapeOf = ({ offset, groups, groupStride, width }: Part) => ({
    rows,
    stride,
    offset,
    groups,
    groupStride,
    width,
  });
  const outputs = parts.map((part) => {
    const packed = graph.tensor(part.name, [rows, part.groups * part.width], x.needsGradient);
    graph.emit(takeColumns({ fused: x, packed }, shapeOf(part)));
    return packed;
  });
  graph.onBackward(outputs, (gradients) => {
    const taken = outputs.map((output) => gradients.take(output));
    gradients.contribute(x, (fused, accumulate) => {
      parts.forEach((part, index) => {
        const packed = taken[index];
        if (packed) graph.emit(putColumns({ packed, fused }, shapeOf(part), accumulate));
      });
    });
  });
  return outputs;
}

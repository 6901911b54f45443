import { headLoss as headLossKernels, type TeacherMode } from '../../kernels/headLoss.ts';
import { matmulTN } from '../../kernels/matmul.ts';
import type { Graph } from '../graph.ts';
import { isTrainable, type Tensor, type Weight } from '../tensor.ts';
import { multiply, multiplyBack } from './linear.ts';

/** What the loss reads and writes; all of it lives in buffers of its own. */
export interface LossBuffers {
  /** i32 `[rows]`: the token that row r should predict, −100 for none. */
  readonly labels: Tensor;
  /** f32 `[rows, 2]`: weights of the supervised and of the distillation term. */
  readonly weights: Tensor;
  /** f32 `[rows, 2]`, written: both terms of every row, unweighted, nats. */
  readonly losses: Tensor;
  readonly teacher:
    | {
        readonly mode: TeacherMode;
        /** K. */
        readonly kept: number;
        /** u32 `[rows, K]`. */
        readonly ids: Tensor;
        /** f32 `[rows, K]`. */
        readonly probs: Tensor;
        /** u32 `[rows]`. */
        readonly counts: Tensor;
      }
    | undefined;
}

/** Bytes that one chunk of logits may take: rows × vocabulary never exist as a whole. */
const LOGITS_BYTES = 32 * 1024 * 1024;

/** Rows of logits that are computed at once. @param mostBytes what one value may take */
export function logitRows(rows: number, vocabulary: number, mostBytes = LOGITS_BYTES): number {
  const bytes = Math.min(LOGITS_BYTES, mostBytes);
  const most = Math.max(1, Math.min(rows, Math.floor(bytes / (4 * vocabulary))));
  return most >= 8 ? most - (most % 8) : most;
}

/**
 * Head and loss in chunks of rows (methods C.2): logits, both terms, their gradient in place, and from it the
 * gradients of the hidden rows and of a trainable head. `gradient: false` leaves only the losses.
 */
export function headLoss(
  graph: Graph,
  hidden: Tensor,
  head: Weight,
  buffers: LossBuffers,
  options: { readonly cap: number; readonly gradient: boolean },
): void {
  const rows = hidden.bytes / 4 / head.cols;
  const chunk = logitRows(rows, head.rows, graph.bindingBytes);
  const withGradient = options.gradient && (hidden.needsGradient || isTrainable(head));
  const dHidden = withGradient && hidden.needsGradient ? graph.tensor('d.hidden', hidden.shape) : undefined;
  const stats = graph.tensor('loss.stats', [rows, 4]);
  for (let start = 0; start < rows; start += chunk) {
    const count = Math.min(chunk, rows - start);
    const part = { start, count };
    const logits = graph.tensor('logits', [count, head.rows]);
    multiply(graph, hidden, head, logits, { rows: part });
    const { labels, weights, losses, teacher } = buffers;
    graph.emit(
      headLossKernels(
        { logits, labels, weights, losses, stats, ...(teacher && { teacher }) },
        { rowStart: start, chunkRows: count, vocabulary: head.rows },
        { gradient: withGradient, cap: options.cap },
      ),
    );
    if (!withGradient) continue;
    for (const { data, rowStart, rows: n } of head.chunks) {
      if (!data.gradient) continue;
      graph.emit(
        matmulTN(
          { dy: logits, x: hidden, dw: data.gradient },
          {
            m: count,
            n,
            k: head.cols,
            dy: { stride: head.rows, offset: rowStart },
            x: { stride: head.cols, offset: start * head.cols },
            accumulate: true,
          },
          graph.tuning,
        ),
      );
    }
    if (dHidden) multiplyBack(graph, logits, head, dHidden, { accumulate: false, rows: part });
  }
  if (dHidden) graph.onBackwardStart((gradients) => gradients.pass(hidden, dHidden));
}

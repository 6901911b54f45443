import { matmulNN, matmulNT, matmulTN } from '../../kernels/matmul.ts';
import { columnSums } from '../../kernels/matmulColumnSums.ts';
import { AlloyError } from '../../util/errors.ts';
import { type Gradients, type Graph, tensorIn } from '../graph.ts';
import { type Adapter, isTrainable, type Matrix, type Tensor, type Weight } from '../tensor.ts';

/** `x Wᵀ + bias + residual`, plus the matrix's adapter and delta: `[rows, in]` → `[rows, out]`. */
export function linear(
  graph: Graph,
  x: Tensor,
  matrix: Matrix,
  options: { readonly residual?: Tensor } = {},
): Tensor {
  const { weight, bias, adapter, delta } = matrix;
  const { residual } = options;
  const rows = x.bytes / 4 / weight.cols;
  const y = graph.tensor(weight.name, [rows, weight.rows], needsGradient(x, matrix, residual));
  multiply(graph, x, weight, y, { bias, residual });
  if (delta) multiply(graph, x, delta, y, { accumulate: true });
  const inner = adapter && applyAdapter(graph, x, adapter, y);
  graph.onBackward([y], (gradients) => {
    const dy = gradients.take(y);
    if (bias?.gradient) {
      graph.emit(columnSums({ dy, db: bias.gradient }, { m: rows, n: weight.rows, accumulate: true }));
    }
    backwardWeight(graph, gradients, x, weight, dy);
    if (delta) backwardWeight(graph, gradients, x, delta, dy);
    if (adapter && inner) backwardAdapter(graph, gradients, x, adapter, inner, dy);
    if (residual) gradients.pass(residual, dy);
  });
  return y;
}

function needsGradient(
  x: Tensor,
  { weight, bias, adapter, delta }: Matrix,
  residual: Tensor | undefined,
): boolean {
  const weights = [weight, delta, adapter?.a, adapter?.b].filter((one) => one !== undefined);
  return (
    x.needsGradient ||
    (residual?.needsGradient ?? false) ||
    bias?.gradient !== undefined ||
    weights.some(isTrainable)
  );
}

/** `y (+)= x Wᵀ + bias + residual`, chunk of rows by chunk of rows of the weight. */
export function multiply(
  graph: Graph,
  x: Tensor,
  weight: Weight,
  y: Tensor,
  options: {
    readonly bias?: Tensor | undefined;
    readonly residual?: Tensor | undefined;
    readonly accumulate?: boolean;
    /** First row of x, and how many rows. */
    readonly rows?: { readonly start: number; readonly count: number };
  } = {},
): void {
  const { residual, accumulate, rows } = options;
  const m = rows?.count ?? x.bytes / 4 / weight.cols;
  for (const { rowStart, rows: n, data, scales } of weight.chunks) {
    const place = { stride: weight.rows, offset: rowStart };
    const bias = options.bias && biasOf(options.bias, weight, rowStart, n);
    graph.emit(
      matmulNT(
        { x, weight: { format: weight.format, data, scales }, y, bias, residual },
        {
          m,
          n,
          k: weight.cols,
          x: { stride: weight.cols, offset: (rows?.start ?? 0) * weight.cols },
          y: place,
          residual: place,
          accumulate,
        },
        graph.tuning,
      ),
    );
  }
}

/** The part of a bias that belongs to a run of rows: these begin at multiples of 64 where a weight is split. */
function biasOf(bias: Tensor, weight: Weight, rowStart: number, rows: number): Tensor {
  if (weight.chunks.length === 1) return bias;
  if (!bias.home || (4 * rowStart) % 256 !== 0) {
    throw new AlloyError('internal', `${weight.name} is split where its bias cannot be`);
  }
  return tensorIn(bias.home.slice(4 * rowStart, 4 * rows), bias.name, [rows]);
}

/** `dx (+)= dy W`, summed over the weight's chunks. */
export function multiplyBack(
  graph: Graph,
  dy: Tensor,
  weight: Weight,
  dx: Tensor,
  options: {
    readonly accumulate: boolean;
    readonly rows?: { readonly start: number; readonly count: number };
  },
): void {
  const m = options.rows?.count ?? dy.bytes / 4 / weight.rows;
  weight.chunks.forEach(({ rowStart, rows: n, data, scales }, index) => {
    graph.emit(
      matmulNN(
        { dy, weight: { format: weight.format, data, scales }, dx },
        {
          m,
          n,
          k: weight.cols,
          dy: { stride: weight.rows, offset: rowStart },
          dx: { stride: weight.cols, offset: (options.rows?.start ?? 0) * weight.cols },
          accumulate: options.accumulate || index > 0,
        },
        graph.tuning,
      ),
    );
  });
}

function backwardWeight(graph: Graph, gradients: Gradients, x: Tensor, weight: Weight, dy: Tensor): void {
  for (const { data, rowStart, rows: n } of weight.chunks) {
    if (!data.gradient) continue;
    const shape = { m: dy.bytes / 4 / weight.rows, n, k: weight.cols, accumulate: true };
    const columns = { stride: weight.rows, offset: rowStart };
    graph.emit(matmulTN({ dy, x, dw: data.gradient }, { ...shape, dy: columns }, graph.tuning));
  }
  gradients.contribute(x, (dx, accumulate) => {
    multiplyBack(graph, dy, weight, dx, { accumulate });
  });
}

/** Adds `B (scale · A x)`; gives `u = scale · A x` `[rows, S·r]` for the reverse walk. */
function applyAdapter(graph: Graph, x: Tensor, adapter: Adapter, y: Tensor): Tensor {
  const { a, b } = adapter;
  const m = x.bytes / 4 / a.cols;
  const trainable = isTrainable(a) || isTrainable(b);
  const u = graph.tensor(`${a.name}.x`, [m, a.rows], trainable || x.needsGradient);
  graph.emit(
    matmulNT(
      { x, weight: operand(a), y: u, columnScale: adapter.scale },
      { m, n: a.rows, k: a.cols, ...scaling(adapter) },
      graph.tuning,
    ),
  );
  graph.emit(
    matmulNT({ x: u, weight: operand(b), y }, { m, n: b.rows, k: b.cols, accumulate: true }, graph.tuning),
  );
  return u;
}

function backwardAdapter(
  graph: Graph,
  gradients: Gradients,
  x: Tensor,
  adapter: Adapter,
  u: Tensor,
  dy: Tensor,
): void {
  const { a, b } = adapter;
  const m = x.bytes / 4 / a.cols;
  const inner = { m, n: a.rows, k: a.cols, ...scaling(adapter) };
  const du = graph.tensor(`d.${u.name}`, u.shape);
  graph.emit(matmulNN({ dy, weight: operand(b), dx: du }, { m, n: b.rows, k: b.cols }, graph.tuning));
  const [da, db] = [a.chunks[0]?.data.gradient, b.chunks[0]?.data.gradient];
  if (db)
    graph.emit(matmulTN({ dy, x: u, dw: db }, { m, n: b.rows, k: b.cols, accumulate: true }, graph.tuning));
  if (da) {
    graph.emit(
      matmulTN(
        { dy: du, x, dw: da, columnScale: adapter.scale },
        { ...inner, accumulate: true },
        graph.tuning,
      ),
    );
  }
  gradients.contribute(x, (dx, accumulate) => {
    graph.emit(
      matmulNN(
        { dy: du, weight: operand(a), dx, columnScale: adapter.scale },
        { ...inner, accumulate },
        graph.tuning,
      ),
    );
  });
}

function scaling({ rank, scaleOffset }: Adapter): { scaleGroup: number; scaleOffset: number } {
  return { scaleGroup: rank, scaleOffset };
}

function operand(weight: Weight): { format: Weight['format']; data: Tensor; scales: Tensor | undefined } {
  const [chunk, ...more] = weight.chunks;
  if (!chunk || more.length > 0) throw new AlloyError('internal', `${weight.name} is split`);
  return { format: weight.format, data: chunk.data, scales: chunk.scales };
}

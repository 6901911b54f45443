/**
 * Matrix products with weights in several precisions. Weights stay packed and in torch order [out, in] = [N, K]: one
 * copy serves the forward product (NT) and the backward one (NN), and is decoded inside the tiles.
 *
 * `matmulOperand.ts` writes the code that reads operands, `matmulKernel.ts` the epilogue, `matmulTiled.ts`,
 * `matmulDirect.ts` and `matmulVector.ts` the loops, and `matmulStrategy.ts` chooses among them; `matmulPieces.ts` says what
 * runs in WASM, whatever the strategy. Sums are f32, in a fixed order, so results are the same on every run on one adapter.
 */
import type { Tuning } from '../device/device.ts';
import { type Dispatch, dispatch, type Grid } from '../device/kernel.ts';
import { AlloyError } from '../util/errors.ts';
import { directBody, directGrid } from './matmulDirect.ts';
import { type Body, type Contraction, type MatmulParams, matmulKernel } from './matmulKernel.ts';
import type { Axis, Chunk, Operand, Product } from './matmulOperand.ts';
import { chooseStrategy, type Extent, type Strategy } from './matmulStrategy.ts';
import { type TiledPlan, tiledBody, tiledGrid } from './matmulTiled.ts';
import { vectorBody, vectorGrid } from './matmulVector.ts';
import { elementBits, rowGroups, rowWords, type WeightFormat } from './weightFormat.ts';

/** A weight matrix [N, K] on the device. `scales` holds the (scale, minimum) pairs of affine formats. */
export interface MatrixOperand<B> {
  readonly format: WeightFormat;
  readonly data: B;
  readonly scales?: B | undefined;
}

/** A matrix as columns `offset ..` of wider rows of `stride` elements; offset 0 and its own width where absent. */
export interface Columns {
  readonly stride: number;
  readonly offset: number;
}

/** Sizes of Y[M, N] = X[M, K] W[N, K]^T, named alike in all three products. */
export interface MatmulShape {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Add to the output instead of replacing it. */
  readonly accumulate?: boolean | undefined;
  /** The factor of column n is columnScale[scaleOffset + floor(n / scaleGroup)]; 0 and 1 where absent. */
  readonly scaleOffset?: number | undefined;
  readonly scaleGroup?: number | undefined;
  /** A constant factor of the sum; 1 where absent. */
  readonly alpha?: number | undefined;
  /** Overrides the choice by tuning and shape. */
  readonly strategy?: Strategy | undefined;
}

export interface MatmulNTShape extends MatmulShape {
  readonly x?: Columns | undefined;
  readonly y?: Columns | undefined;
  readonly residual?: Columns | undefined;
}

export interface MatmulNNShape extends MatmulShape {
  readonly dy?: Columns | undefined;
  readonly dx?: Columns | undefined;
}

export interface MatmulTNShape extends MatmulShape {
  readonly dy?: Columns | undefined;
  readonly x?: Columns | undefined;
}

export interface NTBuffers<B> {
  readonly x: B;
  readonly weight: MatrixOperand<B>;
  readonly y: B;
  readonly bias?: B | undefined;
  readonly residual?: B | undefined;
  readonly columnScale?: B | undefined;
}

/** A product in a tile that was chosen by its shape, and can be made in another (`matmulTiles.ts`). */
export interface TunedDispatch<B> extends Dispatch<B> {
  readonly tuned: {
    readonly product: Product;
    /** What an element of the right operand takes. */
    readonly weightBits: number;
    readonly tile: TiledPlan;
    readonly remake: (tile: TiledPlan) => Dispatch<B>;
  };
}

/** A product that tells what it was made of, so that neighbours can be brought together (`rowProducts.ts`). */
export interface NTDispatch<B> extends Dispatch<B> {
  readonly product: { readonly buffers: NTBuffers<B>; readonly shape: MatmulNTShape };
}

/**
 * Forward: Y[m, n] (+)= alpha * columnScale[n] * sum_k X[m, k] W[n, k] + bias[n] + residual[m, n].
 * `bias` is f32 [N], `residual` f32 [M, N] (or columns of wider rows) and must not be `y`: use `accumulate`.
 */
export function matmulNT<B>(buffers: NTBuffers<B>, shape: MatmulNTShape, tuning: Tuning): NTDispatch<B> {
  const { m, n, k } = shape;
  const one = contract<B>(
    {
      product: 'nt',
      extent: { i: m, j: n, r: k },
      left: activations('left', 'reduction', buffers.x, k, shape.x),
      right: weights('reduction', buffers.weight, k),
      out: { buffer: buffers.y, columns: shape.y ?? { stride: n, offset: 0 } },
      columnScale: buffers.columnScale,
      bias: buffers.bias,
      residual: buffers.residual && {
        buffer: buffers.residual,
        columns: shape.residual ?? { stride: n, offset: 0 },
      },
    },
    shape,
    tuning,
  );
  return { ...one, product: { buffers, shape } };
}

/** Gradient of the input: dX[m, k] (+)= alpha * sum_n columnScale[n] dY[m, n] W[n, k]. */
export function matmulNN<B>(
  buffers: {
    readonly dy: B;
    readonly weight: MatrixOperand<B>;
    readonly dx: B;
    readonly columnScale?: B | undefined;
  },
  shape: MatmulNNShape,
  tuning: Tuning,
): Dispatch<B> {
  const { m, n, k } = shape;
  return contract<B>(
    {
      product: 'nn',
      extent: { i: m, j: k, r: n },
      left: activations('left', 'reduction', buffers.dy, n, shape.dy),
      right: weights('free', buffers.weight, k),
      out: { buffer: buffers.dx, columns: shape.dx ?? { stride: k, offset: 0 } },
      columnScale: buffers.columnScale,
    },
    shape,
    tuning,
  );
}

/** Gradient of the weights, f32 [N, K]: dW[n, k] (+)= alpha * columnScale[n] * sum_m dY[m, n] X[m, k]. */
export function matmulTN<B>(
  buffers: {
    readonly dy: B;
    readonly x: B;
    readonly dw: B;
    readonly columnScale?: B | undefined;
  },
  shape: MatmulTNShape,
  tuning: Tuning,
): Dispatch<B> {
  const { m, n, k } = shape;
  return contract<B>(
    {
      product: 'tn',
      extent: { i: n, j: k, r: m },
      left: activations('left', 'free', buffers.dy, n, shape.dy),
      right: activations('right', 'free', buffers.x, k, shape.x),
      out: { buffer: buffers.dw, columns: { stride: k, offset: 0 } },
      columnScale: buffers.columnScale,
    },
    shape,
    tuning,
  );
}

/** An operand before the strategy has chosen how many values it reads at a time. */
export interface Source<B> {
  readonly side: 'left' | 'right';
  readonly contiguous: Axis;
  readonly format: WeightFormat;
  /** Elements of a row. */
  readonly cols: number;
  /** In words (packed) or elements (f32). */
  readonly columns: Columns;
  readonly data: B;
  readonly scales?: B | undefined;
}

interface Job<B> {
  readonly product: Product;
  readonly extent: Extent;
  readonly left: Source<B>;
  readonly right: Source<B>;
  readonly out: { readonly buffer: B; readonly columns: Columns };
  readonly columnScale?: B | undefined;
  readonly bias?: B | undefined;
  readonly residual?: { readonly buffer: B; readonly columns: Columns } | undefined;
}

export function activations<B>(
  side: 'left' | 'right',
  contiguous: Axis,
  data: B,
  cols: number,
  columns: Columns = { stride: cols, offset: 0 },
): Source<B> {
  return { side, contiguous, format: { kind: 'f32' }, cols, columns, data };
}

export function weights<B>(
  contiguous: Axis,
  { format, data, scales }: MatrixOperand<B>,
  cols: number,
): Source<B> {
  if ((format.kind === 'affine') !== (scales !== undefined)) {
    throw new AlloyError('internal', 'a weight matrix has scales if and only if its format is affine');
  }
  return {
    side: 'right',
    contiguous,
    format,
    cols,
    columns: { stride: rowWords(format, cols), offset: 0 },
    data,
    scales,
  };
}

function contract<B>(job: Job<B>, shape: MatmulShape, tuning: Tuning): Dispatch<B> {
  const { product, extent, out } = job;
  const strategy = shape.strategy ?? chooseStrategy(tuning, product, extent, elementBits(job.right.format));
  const chunks = chunksOf(strategy, job);
  const step =
    strategy.kind === 'tiled' || job.right.contiguous === 'free'
      ? chunks.left
      : Math.max(chunks.left, chunks.right);
  // Compiling is dear on software adapters: products with and without a residual share a kernel there.
  const anyResidual = product === 'nt' && strategy.kind === 'direct';
  const contraction: Contraction = {
    product,
    left: operand(job.left, chunks.left, step, product === 'nn' && job.columnScale !== undefined),
    right: operand(job.right, chunks.right, step, false),
    columnScale: job.columnScale !== undefined,
    bias: job.bias !== undefined,
    residual: job.residual !== undefined || anyResidual,
    wideStores:
      strategy.kind === 'tiled' &&
      product !== 'nt' &&
      [extent.j, out.columns.stride, out.columns.offset].every((at) => at % 4 === 0),
  };
  const { body, grid } = bodyAndGrid(contraction, strategy, extent);
  const params: MatmulParams = {
    i_count: extent.i,
    j_count: extent.j,
    r_count: extent.r,
    left_stride: job.left.columns.stride,
    left_offset: job.left.columns.offset,
    right_stride: job.right.columns.stride,
    right_offset: job.right.columns.offset,
    right_groups: rowGroups(job.right.format, job.right.cols),
    out_stride: out.columns.stride,
    out_offset: out.columns.offset,
    residual_stride: job.residual?.columns.stride ?? 0,
    residual_offset: job.residual?.columns.offset ?? 0,
    scale_offset: shape.scaleOffset ?? 0,
    scale_group: shape.scaleGroup ?? 1,
    accumulate: shape.accumulate ? 1 : 0,
    alpha: shape.alpha ?? 1,
  };
  const buffers: Record<string, B> = { left: job.left.data, right: job.right.data, out: out.buffer };
  if (job.right.scales !== undefined) buffers.right_pairs = job.right.scales;
  if (job.columnScale !== undefined) buffers.column_scale = job.columnScale;
  if (job.bias !== undefined) buffers.bias = job.bias;
  if (contraction.residual) buffers.residual = job.residual?.buffer ?? job.left.data;
  const one = dispatch(matmulKernel(contraction, body), buffers, params, grid);
  if (shape.strategy || strategy.kind !== 'tiled') return one;
  const remake = (tile: TiledPlan) => contract(job, { ...shape, strategy: tile }, tuning);
  const tuned = { product, weightBits: elementBits(job.right.format), tile: strategy, remake };
  const retunable: TunedDispatch<B> = { ...one, tuned };
  return retunable;
}

function bodyAndGrid(
  contraction: Contraction,
  strategy: Strategy,
  { i, j }: Extent,
): { body: Body; grid: Grid } {
  switch (strategy.kind) {
    case 'tiled':
      return { body: tiledBody(contraction, strategy), grid: tiledGrid(strategy, i, j) };
    case 'direct':
      return { body: directBody(contraction, strategy), grid: directGrid(strategy, i, j) };
    case 'vector':
      return { body: vectorBody(contraction, strategy), grid: vectorGrid(strategy, i, j) };
    default:
      return strategy satisfies never;
  }
}

/**
 * How many values each operand reads at a time: one vec4, or the 8 that fill a word at 4 bits; decoding a few rows
 * reads up to 16 bytes of weights.
 */
function chunksOf<B>({ kind }: Strategy, { left, right }: Job<B>): { left: Chunk; right: Chunk } {
  const bits = elementBits(right.format);
  const wordful = bits === 4 ? 8 : 4;
  if (kind !== 'vector') return { left: 4, right: wordful };
  const widest = Math.max(8, 128 / bits);
  const chunk = ([32, 16, 8] as const).find((size) => size <= widest && left.cols % size === 0) ?? wordful;
  return { left: chunk, right: chunk };
}

/** `step` is how far the kernel goes along the reduction at a time: a row must not end within it to go unguarded. */
export function operand<B>(
  { side, format, contiguous, cols, columns }: Source<B>,
  chunk: Chunk,
  step: number,
  scaled: boolean,
): Operand {
  const wordsAtOnce = Math.min(4, (chunk * elementBits(format)) / 32);
  const fits = [columns.stride, columns.offset].every((at) => at % wordsAtOnce === 0);
  const whole = cols % (contiguous === 'reduction' ? step : chunk) === 0;
  const aligned = fits && (format.kind === 'affine' || whole);
  return { side, format, contiguous, chunk, aligned, scaled };
}

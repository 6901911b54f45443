/**
 * What all matrix product kernels share: their parameters, their bindings, and the epilogue that turns a sum into an
 * output. The strategies (`matmulTiled`, `matmulDirect`, `matmulVector`) write the body.
 */
import {
  type BufferSpec,
  defineKernel,
  type Kernel,
  read,
  type ScalarType,
  write,
} from '../device/kernel.ts';
import { type Operand, operandBuffers, operandCode, operandName, type Product } from './matmulOperand.ts';
import { matmulInWasm } from './matmulPieces.ts';

export interface Contraction {
  readonly product: Product;
  readonly left: Operand;
  readonly right: Operand;
  /** A factor of every n, read live from a buffer. */
  readonly columnScale: boolean;
  readonly bias: boolean;
  /** Whether one may be added; the parameters say whether it is. */
  readonly residual: boolean;
  /** Rows of the output start at multiples of 4 and j counts a multiple of 4: stores may be wide. */
  readonly wideStores: boolean;
}

/** The entry point that a strategy writes, and the part of the kernel's name that it decides. */
export interface Body {
  readonly name: string;
  readonly code: () => string;
  readonly enable?: readonly string[];
  /** For devices without what `enable` asks for; has the same grid. */
  readonly fallback?: Body;
}

export const MATMUL_PARAMS = {
  /** out[i, j] = sum over r; see `matmulOperand.ts`. */
  i_count: 'u32',
  j_count: 'u32',
  r_count: 'u32',
  /** Words (packed) or elements (f32) from one row in memory to the next, and where the first row starts. */
  left_stride: 'u32',
  left_offset: 'u32',
  right_stride: 'u32',
  right_offset: 'u32',
  /** (scale, minimum) pairs of a row of weights. */
  right_groups: 'u32',
  out_stride: 'u32',
  out_offset: 'u32',
  /** 0 where there is no residual, whatever is bound. */
  residual_stride: 'u32',
  residual_offset: 'u32',
  /** The factor of column n is column_scale[scale_offset + n / scale_group]. */
  scale_offset: 'u32',
  scale_group: 'u32',
  /** 1 adds to what the output holds. */
  accumulate: 'u32',
  alpha: 'f32',
} as const satisfies Record<string, ScalarType>;

export type MatmulParams = Record<keyof typeof MATMUL_PARAMS, number>;

const kernels = new Map<string, Kernel>();

/** The kernel of a contraction and a strategy; built once. */
export function matmulKernel(contraction: Contraction, body: Body): Kernel {
  const { product, left, right, columnScale, bias, residual, wideStores } = contraction;
  const extras = [columnScale && 'scale', bias && 'bias', residual && 'residual', wideStores && 'wide'];
  const name = ['matmul', product, operandName(left), operandName(right), body.name, ...extras]
    .filter(Boolean)
    .join('.');
  const known = kernels.get(name);
  if (known) return known;
  const kernel = defineKernel({
    name,
    buffers: contractionBuffers(contraction),
    params: MATMUL_PARAMS,
    ...(body.enable && { enable: body.enable }),
    ...(body.fallback && { fallback: matmulKernel(contraction, body.fallback) }),
    code: [
      columnScaleCode(contraction),
      operandCode(left),
      operandCode(right),
      epilogueCode(contraction),
      body.code(),
    ].join('\n'),
    wasm: matmulInWasm(contraction),
  });
  kernels.set(name, kernel);
  return kernel;
}

function contractionBuffers(contraction: Contraction): Record<string, BufferSpec> {
  const { left, right, columnScale, bias, residual, wideStores } = contraction;
  return {
    ...operandBuffers(left),
    ...operandBuffers(right),
    ...(columnScale && { column_scale: read('f32') }),
    ...(bias && { bias: read('f32') }),
    ...(residual && { residual: read('f32') }),
    out: write(wideStores ? 'vec4<f32>' : 'f32'),
  };
}

function columnScaleCode({ columnScale }: Contraction): string {
  if (!columnScale) return '';
  return `
fn column_scale1(n: u32) -> f32 { return column_scale[params.scale_offset + n / params.scale_group]; }
fn column_scale4(n: u32) -> vec4<f32> {
  return vec4<f32>(column_scale1(n), column_scale1(n + 1u), column_scale1(n + 2u), column_scale1(n + 3u));
}`;
}

/**
 * `store1(i, j, sum)` and `store4(i, j, sums)`; both ignore what lies outside the output. The column scale of NN is
 * inside the sum; that of TN belongs to the row i = n.
 */
function epilogueCode({ product, columnScale, bias, residual, wideStores }: Contraction): string {
  const scaleBy = { nt: 'column_scale1(j)', nn: '', tn: 'column_scale1(i)' }[product];
  const factor = columnScale && scaleBy ? ` * ${scaleBy}` : '';
  if (wideStores) {
    return `
fn store4(i: u32, j: u32, sums: vec4<f32>) {
  if (i >= params.i_count || j >= params.j_count) { return; }
  var value = sums * params.alpha${factor};
  let at = (i * params.out_stride + params.out_offset + j) / 4u;
  if (params.accumulate != 0u) { value += out[at]; }
  out[at] = value;
}`;
  }
  return `
fn store1(i: u32, j: u32, sum: f32) {
  if (i >= params.i_count || j >= params.j_count) { return; }
  var value = sum * params.alpha${factor};
  ${bias ? 'value += bias[j];' : ''}
  ${
    residual
      ? 'if (params.residual_stride != 0u) { value += residual[i * params.residual_stride + params.residual_offset + j]; }'
      : ''
  }
  let at = i * params.out_stride + params.out_offset + j;
  if (params.accumulate != 0u) { value += out[at]; }
  out[at] = value;
}
fn store4(i: u32, j: u32, sums: vec4<f32>) {
  store1(i, j, sums.x);
  store1(i, j + 1u, sums.y);
  store1(i, j + 2u, sums.z);
  store1(i, j + 3u, sums.w);
}`;
}

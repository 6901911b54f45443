/**
 * Products of a few rows with one to three matrices in one dispatch, for writing token by token: y_p = x' W_p^T
 * (+ bias_p) (+ residual), where x' is x, or its root-mean-square norm times weights. Two matrices can end in
 * act(y_0) * y_1, the gated activation. All matrices share K and the weight format; each part of the grid belongs to
 * one of them. `rowProductsBody.ts` has the loops: bound by reading the weights once, on GPUs by 16-byte loads of
 * neighbouring lanes, on software adapters by lanes side by side that share what they read of x.
 */
import type { Tuning } from '../device/device.ts';
import {
  type BufferSpec,
  type Dispatch,
  defineKernel,
  dispatch,
  type Kernel,
  madeOnce,
  read,
  write,
} from '../device/kernel.ts';
import { AlloyError } from '../util/errors.ts';
import { type Activation, gateWgsl } from './activation.ts';
import { activations, type NTBuffers, operand, weights } from './matmul.ts';
import {
  type Chunk,
  codesCode,
  type Operand,
  operandBuffers,
  operandCode,
  operandName,
  range,
} from './matmulOperand.ts';
import { type RowFrame, rowBody, rowFrame } from './rowProductsBody.ts';
import { elementBits, rowGroups, rowWords, type WeightFormat } from './weightFormat.ts';

/** One matrix of a dispatch. */
export type RowPart<B> = Omit<NTBuffers<B>, 'x' | 'columnScale'> & { readonly n: number };

/** The norm of the row, for one row on a GPU: every workgroup computes it, which costs more than it saves elsewhere. */
export interface RowNorm<B> {
  readonly weight: B;
  readonly eps: number;
  readonly offset: number;
}

export interface RowProducts<B> {
  readonly x: B;
  readonly m: number;
  readonly k: number;
  readonly parts: readonly RowPart<B>[];
  readonly norm?: RowNorm<B> | undefined;
  /** The first part is the gate, the second what it opens; `y` of the first is written. */
  readonly gate?: Activation | undefined;
}

/** Rows that one dispatch takes at most: more are faster in tiles. */
export const MOST_ROWS = 2;

/** Whether fewer dispatches are faster: in WASM starting one costs next to nothing. */
export function fusingPays(tuning: Tuning): boolean {
  return tuning !== 'wasm';
}

/** Whether the kernels take the norm before the products along. */
export function takesNorm(tuning: Tuning): boolean {
  return tuning === 'gpu';
}

/** Storage buffers that such a dispatch binds. */
export function rowProductsBuffers<B>({ parts, norm, gate }: Omit<RowProducts<B>, 'x' | 'm' | 'k'>): number {
  const bound = parts.map(
    ({ weight, bias, residual }) =>
      1 +
      (weight.scales === undefined ? 0 : 1) +
      (bias === undefined ? 0 : 1) +
      (residual === undefined ? 0 : 1),
  );
  const outputs = gate ? 1 : parts.length;
  return 1 + (norm ? 1 : 0) + outputs + bound.reduce((sum, count) => sum + count, 0);
}

/**
 * @param products.parts alike in format, bias and residual; a residual only where there is one part
 * @throws AlloyError `internal` for what the kernels cannot do
 */
export function rowProducts<B>(products: RowProducts<B>, tuning: Tuning): Dispatch<B> {
  const { x, m, k, parts, norm, gate } = products;
  const [first] = parts;
  if (!first || m > MOST_ROWS || (norm && (m > 1 || !takesNorm(tuning))) || (gate && parts.length !== 2)) {
    throw new AlloyError('internal', `no kernel for ${m} rows of ${parts.length} products`);
  }
  const { format } = first.weight;
  const columns = gate ? first.n : parts.reduce((sum, { n }) => sum + n, 0);
  const frame = rowFrame(tuning, m, columns, gate !== undefined);
  const chunk = chunkOf(tuning, format, k);
  const leftChunk = tuning !== 'gpu' ? 4 : chunk;
  const shape: KernelShape = {
    left: operand(activations('left', 'reduction', x, k), leftChunk, Math.max(chunk, leftChunk), false),
    right: operand(weights('reduction', first.weight, k), chunk, chunk, false),
    parts: parts.length,
    bias: first.bias !== undefined,
    residual: first.residual !== undefined,
    norm: norm !== undefined,
    gate,
  };
  const buffers: Record<string, B> = { left: x };
  if (norm) buffers.norm_weight = norm.weight;
  parts.forEach((part, p) => {
    buffers[`right${p}`] = part.weight.data;
    if (part.weight.scales !== undefined) buffers[`right${p}_pairs`] = part.weight.scales;
    if (part.bias !== undefined) buffers[`bias${p}`] = part.bias;
    if (part.residual !== undefined) buffers.residual = part.residual;
    if (!gate || p === 0) buffers[`out${p}`] = part.y;
  });
  const groups = parts.map(({ n }) => Math.ceil(n / frame.columns));
  const total = gate ? (groups[0] ?? 0) : groups.reduce((sum, count) => sum + count, 0);
  const params = {
    i_count: m,
    r_count: k,
    left_stride: k,
    left_offset: 0,
    right_stride: rowWords(format, k),
    right_offset: 0,
    right_groups: rowGroups(format, k),
    j_count0: first.n,
    j_count1: parts[1]?.n ?? 0,
    j_count2: parts[2]?.n ?? 0,
    end0: groups[0] ?? 0,
    end1: (groups[0] ?? 0) + (groups[1] ?? 0),
    eps: norm?.eps ?? 0,
    norm_offset: norm?.offset ?? 0,
  };
  return dispatch<string, string, B>(rowKernel(shape, frame), buffers, params, [total, 1, 1]);
}

/** Weights that one read of the inner loop takes: up to 16 bytes. */
function chunkOf(tuning: Tuning, format: WeightFormat, k: number): Chunk {
  const bits = elementBits(format);
  const widest = Math.min(
    format.kind === 'affine' ? format.group : 32,
    Math.max(tuning === 'gpu' ? 8 : 4, 128 / bits),
  );
  const fits = format.kind === 'affine' ? rowGroups(format, k) * format.group : k;
  return ([32, 16, 8] as const).find((size) => size <= widest && fits % size === 0) ?? (bits === 4 ? 8 : 4);
}

export interface KernelShape {
  readonly left: Operand;
  readonly right: Operand;
  readonly parts: number;
  readonly bias: boolean;
  readonly residual: boolean;
  readonly norm: boolean;
  readonly gate: Activation | undefined;
}

const PARAMS = {
  i_count: 'u32',
  r_count: 'u32',
  left_stride: 'u32',
  left_offset: 'u32',
  right_stride: 'u32',
  right_offset: 'u32',
  right_groups: 'u32',
  /** Rows of each matrix, and the workgroup behind the last of the first and the second. */
  j_count0: 'u32',
  j_count1: 'u32',
  j_count2: 'u32',
  end0: 'u32',
  end1: 'u32',
  eps: 'f32',
  norm_offset: 'f32',
} as const;

const rowKernel = madeOnce((shape: KernelShape, frame: RowFrame): Kernel => {
  const { left, right, parts, bias, residual, norm, gate } = shape;
  const extras = [bias && 'bias', residual && 'residual', norm && 'norm', gate].filter(Boolean);
  const name = ['rows', operandName(left), operandName(right), `${parts}`, frame.name, ...extras].join('.');
  const fallback = frame.share
    ? rowKernel(shape, { ...frame, share: false, name: `${frame.name}alone` })
    : undefined;
  return defineKernel<string, string>({
    name,
    buffers: kernelBuffers(shape),
    params: PARAMS,
    ...(fallback && { enable: ['subgroups'], fallback }),
    code: [
      operandCode(left),
      ...range(parts).map((p) =>
        ofPart(operandCode(right) + (right.format.kind === 'affine' ? codesCode(right) : ''), p),
      ),
      norm ? normCode(left) : '',
      gate ? gateWgsl(gate) : '',
      rowBody(shape, frame),
    ].join('\n'),
  });
});

function kernelBuffers({
  left,
  right,
  parts,
  bias,
  residual,
  norm,
  gate,
}: KernelShape): Record<string, BufferSpec> {
  const buffers: Record<string, BufferSpec> = { ...operandBuffers(left) };
  if (norm) buffers.norm_weight = read(left.aligned ? 'vec4<f32>' : 'f32');
  for (const p of range(parts)) {
    for (const [name, spec] of Object.entries(operandBuffers(right))) buffers[ofPart(name, p)] = spec;
    if (bias) buffers[`bias${p}`] = read('f32');
    if (residual) buffers.residual = read('f32');
    if (!gate || p === 0) buffers[`out${p}`] = write('f32');
  }
  return buffers;
}

/** Code of the operand `right` for the matrix number `p`: other names, the same parameters. */
function ofPart(code: string, p: number): string {
  return code.replace(/(?<!params\.)\bright(?=_|\b)/gu, `right${p}`);
}

/** WGSL: `norm4(c)`, what the four columns from c on are multiplied with. */
function normCode({ aligned }: Operand): string {
  const value = aligned
    ? 'norm_weight[c / 4u]'
    : 'vec4<f32>(norm_weight[c], norm_weight[c + 1u], norm_weight[c + 2u], norm_weight[c + 3u])';
  return `fn norm4(c: u32) -> vec4<f32> { return ${value} + vec4<f32>(params.norm_offset); }`;
}

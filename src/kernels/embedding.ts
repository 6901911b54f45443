/**
 * Token embedding: y[r, :] = scale * W[token[r], :] for a table W [V, D] in any weight format, and its gradient.
 *
 * Tables larger than one storage binding come in chunks of whole rows: a dispatch sees the rows from `rowStart` on and
 * writes only the rows of y whose token lies there, so one dispatch per chunk fills y.
 *
 * The gradient has no atomics and a fixed order of summation: the host sorts the rows of y by token
 * (`tokenSegments`), and each table row adds up its own segment.
 */

import type { Tuning } from '../device/device.ts';
import {
  type BufferSpec,
  type Dispatch,
  defineKernel,
  dispatch,
  type Kernel,
  LINEAR_GROUP,
  linearGrid,
  read,
  write,
} from '../device/kernel.ts';
import { AlloyError } from '../util/errors.ts';
import { formatName, pairWords, rowGroups, rowWords, type WeightFormat } from './weightFormat.ts';

export interface EmbeddingShape {
  /** Rows of y: B * T. */
  readonly rows: number;
  /** D. */
  readonly width: number;
  /** First table row of this chunk, and how many it has. */
  readonly rowStart: number;
  readonly rowCount: number;
  /** Factor on the table's values (sqrt(D) in Gemma, else 1). */
  readonly scale: number;
}

const THREADS = 128;

/** WGSL: `table_value(row, j)`, the element j of a row of the chunk. */
function tableWgsl(format: WeightFormat): string {
  switch (format.kind) {
    case 'f32':
      return 'fn table_value(row: u32, j: u32) -> f32 { return w[row * params.stride + j]; }';
    case 'f16':
      return `fn table_value(row: u32, j: u32) -> f32 {
  return unpack2x16float(w[row * params.stride + j / 2u])[j % 2u];
}`;
    case 'affine': {
      const perWord = 32 / format.bits;
      const pair =
        pairWords(format) === 1
          ? 'unpack2x16float(scales[at])'
          : 'bitcast<vec2<f32>>(vec2<u32>(scales[2u * at], scales[2u * at + 1u]))';
      return `fn table_value(row: u32, j: u32) -> f32 {
  let word = w[row * params.stride + j / ${perWord}u];
  let q = extractBits(word, (j % ${perWord}u) * ${format.bits}u, ${format.bits}u);
  let at = row * params.groups + j / ${format.group}u;
  let pair = ${pair};
  return pair.x * f32(q) + pair.y;
}`;
    }
    default:
      return format satisfies never;
  }
}

/** The format as the kernel in WASM is told it. */
function wasmFormat(format: WeightFormat): number[] {
  if (format.kind !== 'affine') return [format.kind === 'f32' ? 0 : 1, 0, 0, 0];
  return [2, format.bits, format.group, pairWords(format)];
}

function forwardKernel(format: WeightFormat): Kernel {
  const affine = format.kind === 'affine';
  const scales: Record<string, BufferSpec> = affine ? { scales: read('u32') } : {};
  return defineKernel<string, string>({
    name: `embedding.forward.${formatName(format)}`,
    buffers: {
      tokens: read('u32'),
      w: read(format.kind === 'f32' ? 'f32' : 'u32'),
      ...scales,
      y: write('f32'),
    },
    params: {
      rows: 'u32',
      width: 'u32',
      stride: 'u32',
      ...(affine ? { groups: 'u32' } : {}),
      rowStart: 'u32',
      rowCount: 'u32',
      scale: 'f32',
    },
    code: `${LINEAR_GROUP}
${tableWgsl(format)}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = linear_group(group) * ${THREADS}u + lane;
  let row = i / params.width;
  if (row >= params.rows) { return; }
  let source = tokens[row] - params.rowStart;
  if (source >= params.rowCount) { return; }
  y[i] = params.scale * table_value(source, i % params.width);
}`,
    wasm: { name: 'embeddingForward', constants: wasmFormat(format), pieces: ({ rows = 0 }) => rows },
  });
}

/**
 * y [rows, width] from `tokens` (u32 [rows]) and a chunk of the table: `w` [rowCount, width] in `format`, with `scales`
 * for an affine one.
 */
export function embeddingForward<B>(
  { tokens, w, scales, y }: { tokens: B; w: B; scales?: B; y: B },
  shape: EmbeddingShape,
  format: WeightFormat,
): Dispatch<B> {
  const { rows, width, rowStart, rowCount, scale } = shape;
  if ((format.kind === 'affine') !== (scales !== undefined)) {
    throw new AlloyError(
      'internal',
      `an embedding in ${formatName(format)} is given ${scales ? '' : 'no '}scales`,
    );
  }
  return dispatch<string, string, B>(
    forwardKernel(format),
    scales === undefined ? { tokens, w, y } : { tokens, w, scales, y },
    {
      rows,
      width,
      stride: rowWords(format, width),
      groups: rowGroups(format, width),
      rowStart,
      rowCount,
      scale,
    },
    linearGrid(Math.ceil((rows * width) / THREADS)),
  );
}

/** Words of `tokenSegments` for so many rows. */
export function tokenSegmentWords(rows: number): number {
  return 3 * rows + 2;
}

/**
 * The rows of a batch sorted by token, for `embeddingBackward`: of fixed size, so that one buffer serves every batch.
 * With R rows: [0] the number of distinct tokens N; [1, 1 + R) the tokens, ascending; [1 + R, 2 + 2R) where the
 * segment of each begins (and, after the last, ends) in the order; [2 + 2R, 2 + 3R) the order: row numbers.
 * @param padding a token that gets no gradient
 */
export function tokenSegments(tokens: ArrayLike<number>, padding?: number): Uint32Array<ArrayBuffer> {
  const rows = tokens.length;
  const words = new Uint32Array(tokenSegmentWords(rows));
  const keys = Float64Array.from(tokens, (token, row) => token * rows + row)
    .filter((_, row) => tokens[row] !== padding)
    .sort();
  let count = 0;
  let last = -1;
  keys.forEach((key, i) => {
    const token = Math.floor(key / rows);
    if (token !== last) {
      words[1 + count] = token;
      words[1 + rows + count] = i;
      count++;
      last = token;
    }
    words[2 + 2 * rows + i] = key - token * rows;
  });
  words[0] = count;
  words[1 + rows + count] = keys.length;
  return words;
}

const clearKernel = defineKernel({
  name: 'embedding.clear',
  buffers: { dw: write('f32') },
  params: { count: 'u32' },
  code: `${LINEAR_GROUP}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = linear_group(group) * ${THREADS}u + lane;
  if (i < params.count) { dw[i] = 0.0; }
}`,
  wasm: { name: 'embeddingClear', pieces: ({ count }) => count / 16_384 },
});

const COLUMNS = 64;

/**
 * One workgroup a segment and 64 columns. `lanes` threads share a column, each with every lanes-th row of the segment,
 * so that a token that fills half the batch does not leave one thread to add it all up.
 */
function backwardKernel(lanes: 1 | 4) {
  const merge =
    lanes === 1
      ? ''
      : `
  part[lane] = sum;
  workgroupBarrier();
  if (strand > 0u) { return; }
  sum = part[lane] + part[lane + ${COLUMNS}u] + part[lane + ${2 * COLUMNS}u] + part[lane + ${3 * COLUMNS}u];`;
  return defineKernel({
    name: `embedding.backward.${lanes}`,
    buffers: { dy: read('f32'), segments: read('u32'), dw: write('f32') },
    params: { rows: 'u32', width: 'u32', rowStart: 'u32', rowCount: 'u32', scale: 'f32' },
    code: `${LINEAR_GROUP}
${lanes === 1 ? '' : `var<workgroup> part: array<f32, ${COLUMNS * lanes}>;`}
@compute @workgroup_size(${COLUMNS * lanes})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let segment = linear_group(group);
  if (segment >= segments[0]) { return; }
  let into = segments[1u + segment] - params.rowStart;
  if (into >= params.rowCount) { return; }
  let column = group.z * ${COLUMNS}u + lane % ${COLUMNS}u;
  let strand = lane / ${COLUMNS}u;
  let inside = column < params.width;
  let begin = segments[1u + params.rows + segment];
  let end = select(begin, segments[2u + params.rows + segment], inside);
  var sum = 0.0;
  for (var i = begin + strand; i < end; i += ${lanes}u) {
    sum += dy[segments[2u + 2u * params.rows + i] * params.width + column];
  }${merge}
  if (inside) { dw[into * params.width + column] += params.scale * sum; }
}`,
    wasm: { name: 'embeddingBackward', pieces: ({ rows, width }) => rows * Math.ceil(width / COLUMNS) },
  });
}

/**
 * dw [rowCount, width] (= or +=) from dy [rows, width]; `segments` holds `tokenSegments` of the batch. Where it does
 * not accumulate, rows without tokens become 0.
 */
export function embeddingBackward<B>(
  { dy, segments, dw }: { dy: B; segments: B; dw: B },
  shape: EmbeddingShape,
  accumulate: boolean,
  tuning: Tuning,
): Dispatch<B>[] {
  const { rows, width, rowStart, rowCount, scale } = shape;
  const count = rowCount * width;
  const clear = dispatch(clearKernel, { dw }, { count }, linearGrid(Math.ceil(count / THREADS)));
  const [x, y] = linearGrid(rows);
  const add = dispatch(
    backwardKernel(tuning !== 'gpu' ? 1 : 4),
    { dy, segments, dw },
    { rows, width, rowStart, rowCount, scale },
    [x, y, Math.ceil(width / COLUMNS)],
  );
  return accumulate ? [add] : [clear, add];
}

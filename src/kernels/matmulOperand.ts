/**
 * WGSL that reads the two operands of a matrix product, whatever their number format.
 *
 * All three products are one contraction, out[i, j] = sum over r of left(i, r) * right(j, r):
 *
 *   | product | i | j | r | left                      | right                    |
 *   | NT      | m | n | k | x[m, k], k contiguous     | W[n, k], k contiguous    |
 *   | NN      | m | k | n | dy[m, n], n contiguous    | W[n, k], k contiguous    |
 *   | TN      | n | k | m | dy[m, n], n contiguous    | x[m, k], k contiguous    |
 *
 * so an operand is contiguous in memory either along the reduction r or along its free index (i or j). For each
 * operand this module writes two functions, of which the kernels are made:
 *
 *   left_row(row) -> vec2<u32>                       where a row in memory starts (data, pairs)
 *   left_at(start, col) -> array<vec4<f32>, chunk/4> `chunk` values of that row from column `col`, a multiple of chunk
 *
 * `left_at` returns zeros past the end of the reduction; `right_at` returns any finite weight there. Past the end of a
 * free index both return anything, since those outputs are not stored.
 */
import { type BufferSpec, read } from '../device/kernel.ts';
import { AlloyError } from '../util/errors.ts';
import { elementBits, formatName, type WeightFormat } from './weightFormat.ts';

export type Product = 'nt' | 'nn' | 'tn';
export type Axis = 'reduction' | 'free';
/** Values that one `left_at` or `right_at` reads. */
export type Chunk = 4 | 8 | 16 | 32;

export interface Operand {
  readonly side: 'left' | 'right';
  readonly format: WeightFormat;
  readonly contiguous: Axis;
  readonly chunk: Chunk;
  /** Rows start at and end on whole chunks, so that loads can be wide and unguarded. */
  readonly aligned: boolean;
  /** The column scale multiplies this operand along the reduction (NN). */
  readonly scaled: boolean;
}

/** The part of a kernel's name that an operand decides. */
export function operandName({ format, chunk, aligned }: Operand): string {
  return `${formatName(format)}x${chunk}${aligned ? '' : 'ragged'}`;
}

/** Storage bindings of an operand. */
export function operandBuffers({ side, format, chunk, aligned }: Operand): Record<string, BufferSpec> {
  const words = format.kind === 'affine' || aligned ? Math.min(4, (chunk * elementBits(format)) / 32) : 1;
  const scalar = format.kind === 'f32' ? 'f32' : 'u32';
  const buffers = { [side]: read(words === 1 ? scalar : `vec${words}<${scalar}>`) };
  if (format.kind === 'affine') {
    buffers[`${side}_pairs`] = read(format.scales === 'f16' ? 'u32' : 'vec2<f32>');
  }
  return buffers;
}

/** The functions `<side>_row` and `<side>_at`. */
export function operandCode(operand: Operand): string {
  const { side, chunk, format } = operand;
  const { row, helpers, lines, quads } = reader(operand);
  const scaled = operand.scaled ? quads.map((quad, q) => `${quad} * column_scale4(col + ${4 * q}u)`) : quads;
  return `
${helpers}
fn ${side}_row(row: u32) -> vec2<u32> {
  return vec2<u32>(${row}, ${format.kind === 'affine' ? `row * params.${side}_groups` : '0u'});
}
fn ${side}_at(start: vec2<u32>, col: u32) -> array<vec4<f32>, ${chunk / 4}> {
  ${lines.join('\n  ')}
  return array<vec4<f32>, ${chunk / 4}>(${scaled.join(', ')});
}`;
}

/**
 * For affine operands whose chunk lies within one group, `<side>_codes_at(start, col)`, the codes as numbers, and
 * `<side>_pair_at(start, col)`, the (scale, minimum) of the chunk: a dot product with x is
 * scale * dot(codes, x) + minimum * sum(x), two operations a weight less.
 */
export function codesCode({ side, chunk, format }: Operand): string {
  if (format.kind !== 'affine') throw new AlloyError('internal', 'only affine weights have codes');
  const { bits, group, scales } = format;
  const wordCount = (chunk * bits) / 32;
  const pair = `${side}_pairs[start.y + col / ${group}u]`;
  const codes = range(chunk / 4).map((q) => {
    const word = wordCount === 1 ? 'words' : `words.${'xyzw'[Math.floor((q * bits) / 8)]}`;
    return `${side}_codes(${word}, ${16 * (q % (8 / bits))}u)`;
  });
  return `
fn ${side}_pair_at(start: vec2<u32>, col: u32) -> vec2<f32> {
  return ${scales === 'f16' ? `unpack2x16float(${pair})` : pair};
}
fn ${side}_codes_at(start: vec2<u32>, col: u32) -> array<vec4<f32>, ${chunk / 4}> {
  let words = ${side}[start.x + col / ${chunk}u];
  return array<vec4<f32>, ${chunk / 4}>(${codes.join(', ')});
}`;
}

/** How one format is read: where a row starts, helper functions, statements, and an expression for every 4 values. */
interface Reader {
  readonly row: string;
  readonly helpers: string;
  readonly lines: readonly string[];
  readonly quads: readonly string[];
}

function reader(operand: Operand): Reader {
  if (operand.format.kind === 'affine') return affineReader(operand, operand.format);
  if (operand.format.kind === 'f16') return halfReader(operand);
  return floatReader(operand);
}

function floatReader({ side, chunk, aligned, contiguous }: Operand): Reader {
  const start = `row * params.${side}_stride + params.${side}_offset`;
  const quads = range(chunk / 4);
  if (aligned) {
    return {
      row: `(${start}) / 4u`,
      helpers: '',
      lines: ['let at = start.x + col / 4u;'],
      quads: quads.map((q) => `${side}[at + ${q}u]`),
    };
  }
  const guarded = side === 'left' && contiguous === 'reduction';
  const value = (c: number) =>
    guarded ? `select(0.0, ${side}[at + ${c}u], col + ${c}u < params.r_count)` : `${side}[at + ${c}u]`;
  return {
    row: start,
    helpers: '',
    lines: ['let at = start.x + col;'],
    quads: quads.map((q) => `vec4<f32>(${range(4).map((c) => value(4 * q + c))})`),
  };
}

function halfReader({ side, chunk, aligned }: Operand): Reader {
  const wide = Math.min(4, chunk / 2);
  const word = (w: number) => {
    if (!aligned) return `${side}[at + ${w}u]`;
    return `${side}[at + ${Math.floor(w / wide)}u].${'xyzw'[w % wide]}`;
  };
  return {
    row: aligned ? `row * (params.${side}_stride / ${wide}u)` : `row * params.${side}_stride`,
    helpers: '',
    lines: [`let at = start.x + col / ${aligned ? 2 * wide : 2}u;`],
    quads: range(chunk / 4).map(
      (q) => `vec4<f32>(unpack2x16float(${word(2 * q)}), unpack2x16float(${word(2 * q + 1)}))`,
    ),
  };
}

function affineReader(
  { side, chunk }: Operand,
  { bits, group, scales }: Extract<WeightFormat, { kind: 'affine' }>,
): Reader {
  const words = (chunk * bits) / 32;
  const quadsPerWord = 8 / bits;
  const quadsPerGroup = group / 4;
  const pairOf = `${side}_pairs[start.y + col / ${group}u`;
  return {
    row: `row * (params.${side}_stride / ${words}u)`,
    helpers: `
fn ${side}_codes(word: u32, shift: u32) -> vec4<f32> {
  return vec4<f32>((vec4<u32>(word >> shift) >> vec4<u32>(${range(4).map((c) => `${c * bits}u`)})) & vec4<u32>(${2 ** bits - 1}u));
}`,
    lines: [
      `let words = ${side}[start.x + col / ${chunk}u];`,
      ...range(Math.ceil(chunk / group)).map((g) => {
        const pair = `${pairOf} + ${g}u]`;
        return `let pair${g} = ${scales === 'f16' ? `unpack2x16float(${pair})` : pair};`;
      }),
    ],
    quads: range(chunk / 4).map((q) => {
      const word = words === 1 ? 'words' : `words.${'xyzw'[Math.floor(q / quadsPerWord)]}`;
      const pair = `pair${Math.floor(q / quadsPerGroup)}`;
      const codes = `${side}_codes(${word}, ${16 * (q % quadsPerWord)}u)`;
      return `(${codes} * ${pair}.x + vec4<f32>(${pair}.y))`;
    }),
  };
}

/** [0, 1, ..., count - 1] */
export function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

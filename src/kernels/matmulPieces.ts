/** Matrix products in WASM: what `src/kernels/assembly/matmul.ts` is told, and how it cuts an output into pieces. */
import type { WasmKernel } from '../device/kernel.ts';
import type { MatmulParams } from './matmulKernel.ts';
import type { Operand, Product } from './matmulOperand.ts';
import { elementBits } from './weightFormat.ts';

const PRODUCTS: Readonly<Record<Product, number>> = { nt: 0, nn: 1, tn: 2 };

/** A few rows, if they fit the memory of a thread, meet weights that are not brought into panels: a piece is 8 columns. */
const FEW = { rows: 4, values: 65_536, columns: 8 };
/** A block of the output at most, and how many there must be before they are as large. */
const BLOCK = { rows: 192, columns: 64 };
const ENOUGH = 16;

/**
 * How many pieces `matmul` of `assembly/matmul.ts` knows; the numbers above are the same there.
 * @param weightBits what an element of the right operand takes
 */
export function matmulPieces(product: Product, i: number, j: number, r: number, weightBits: number): number {
  if (product === 'nt' && hasFewRows(i, r, weightBits)) return Math.ceil(j / FEW.columns);
  let { rows, columns } = BLOCK;
  const pieces = () => Math.ceil(i / rows) * Math.ceil(j / columns);
  while (columns > 8 && pieces() < ENOUGH) {
    const least = product === 'tn' ? columns : 2 * columns;
    if (rows >= least && i * 2 > rows) rows = Math.floor(rows / 2);
    else columns /= 2;
  }
  return pieces();
}

/** Unpacking costs as much as a row or two, depending on the format. */
function hasFewRows(i: number, r: number, weightBits: number): boolean {
  const most = weightBits < 16 ? FEW.rows : weightBits === 16 ? 1 : 2;
  return i <= most && i * Math.ceil(r / 32) * 32 <= FEW.values;
}

/** The same contraction as a function of `assembly/matmul.ts`. Strategies are the GPU's: there is one here. */
export function matmulInWasm(contraction: {
  readonly product: Product;
  readonly right: Operand;
  readonly columnScale: boolean;
  readonly bias: boolean;
  readonly residual: boolean;
}): WasmKernel<keyof MatmulParams> {
  const { product, right, columnScale, bias, residual } = contraction;
  const { format } = right;
  const affine = format.kind === 'affine' ? format : undefined;
  return {
    name: 'matmul',
    constants: [
      PRODUCTS[product],
      elementBits(format),
      affine?.group ?? 32,
      affine?.scales === 'f32' ? 1 : 0,
      ...[columnScale, bias, residual].map(Number),
    ],
    pieces: ({ i_count, j_count, r_count }) =>
      matmulPieces(product, i_count, j_count, r_count, elementBits(format)),
  };
}

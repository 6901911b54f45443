/** Matrix products in WASM: what `src/kernels/assembly/matmul.ts` is told, and how it cuts an output into pieces. */
import type { WasmKernel } from '../device/kernel.ts';
import type { MatmulParams } from './matmulKernel.ts';
import type { Operand, Product } from './matmulOperand.ts';
import { elementBits } from './weightFormat.ts';

const PRODUCTS: Readonly<Record<Product, number>> = { nt: 0, nn: 1, tn: 2 };

/** Weights that one row meets are not brought into panels, if it fits the memory of a thread: a piece is 8 columns. */
const LONGEST_ROW = 65_536;
const ROW_COLUMNS = 8;
/** A block of the output at most, and how many there must be before they are as large. */
const BLOCK = { rows: 192, columns: 64 };
const ENOUGH = 16;

/** How many pieces `matmul` of `assembly/matmul.ts` knows; the numbers above are the same there. */
export function matmulPieces(product: Product, i: number, j: number, r: number): number {
  if (product === 'nt' && i === 1 && r <= LONGEST_ROW) return Math.ceil(j / ROW_COLUMNS);
  let { rows, columns } = BLOCK;
  const pieces = () => Math.ceil(i / rows) * Math.ceil(j / columns);
  while (columns > 8 && pieces() < ENOUGH) {
    if (rows >= 2 * columns && i * 2 > rows) rows = Math.floor(rows / 2);
    else columns /= 2;
  }
  return pieces();
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
    pieces: ({ i_count, j_count, r_count }) => matmulPieces(product, i_count, j_count, r_count),
  };
}

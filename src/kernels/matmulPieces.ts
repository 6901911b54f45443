/** Matrix products in WASM: what `src/kernels/assembly/matmul.ts` is told, and how it cuts an output into pieces. */
import type { WasmKernel } from '../device/kernel.ts';
import type { MatmulParams } from './matmulKernel.ts';
import type { Operand, Product } from './matmulOperand.ts';
import { elementBits } from './weightFormat.ts';

const PRODUCTS: Readonly<Record<Product, number>> = { nt: 0, nn: 1, tn: 2 };

/** Up to so many rows the weights are not brought into panels: a piece is 8 columns of all rows. */
const FEW_ROWS = 4;
const FEW_COLUMNS = 8;
/** A block of the output at most, and how many there must be before they are as large. */
const BLOCK = { rows: 192, columns: 64 };
const ENOUGH = 16;

/** How many pieces `matmul` of `assembly/matmul.ts` knows; the numbers above are the same there. */
export function matmulPieces(product: Product, i: number, j: number): number {
  if (product === 'nt' && i <= FEW_ROWS) return Math.ceil(j / FEW_COLUMNS);
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
    pieces: ({ i_count, j_count }) => matmulPieces(product, i_count, j_count),
  };
}

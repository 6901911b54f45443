import type { MatmulCase } from './engine.ts';

/** Products of a linear layer: square ones, as engines are usually compared, and the shapes that a step of a small chat model has. */
export const MATMULS: readonly MatmulCase[] = [
  { name: 'f32 512³', rows: 512, outputs: 512, inputs: 512, weights: 'f32' },
  { name: 'f32 1024³', rows: 1024, outputs: 1024, inputs: 1024, weights: 'f32' },
  { name: '4-bit 512³', rows: 512, outputs: 512, inputs: 512, weights: 'q4' },
  { name: '4-bit 1024³', rows: 1024, outputs: 1024, inputs: 1024, weights: 'q4' },
];

/** Large enough to fill a real GPU. */
export const LARGE_MATMULS: readonly MatmulCase[] = [
  { name: 'f32 4096³', rows: 4096, outputs: 4096, inputs: 4096, weights: 'f32' },
  { name: '4-bit 4096³', rows: 4096, outputs: 4096, inputs: 4096, weights: 'q4' },
];

export const BLOCK = 32;

export const matmulFlops = ({ rows, outputs, inputs }: MatmulCase) => 2 * rows * outputs * inputs;

function unit(seed: number, index: number): number {
  let x = (Math.imul(index + 1, 0x9e3779b1) ^ seed) >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return ((x ^ (x >>> 16)) >>> 0) / 2147483648 - 1;
}

/** `x`, `[M, K]`, in −1..1. */
export function matmulInput({ rows, inputs }: MatmulCase): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: rows * inputs }, (_, index) => unit(1, index));
}

export interface PackedWeights {
  /** `[N, K / 32, 16]`, the low nibble first, zero point 8: the layout of ONNX's MatMulNBits. */
  readonly nibbles: Uint8Array<ArrayBuffer>;
  /** `[N, K / 32]` */
  readonly scales: Float32Array<ArrayBuffer>;
}

export function packedWeights({ outputs, inputs }: MatmulCase): PackedWeights {
  const count = outputs * inputs;
  const nibbles = Uint8Array.from({ length: count / 2 }, (_, index) =>
    Math.floor((unit(2, index) + 1) * 128),
  );
  const scales = Float32Array.from({ length: count / BLOCK }, (_, index) => 0.01 * (1.5 + unit(3, index)));
  return { nibbles, scales };
}

/** `W`, `[N, K]`; of a 4-bit case what its packed form means. */
export function matmulWeights(matmulCase: MatmulCase): Float32Array<ArrayBuffer> {
  const { outputs, inputs, weights } = matmulCase;
  if (weights === 'f32') {
    return Float32Array.from({ length: outputs * inputs }, (_, index) => unit(2, index));
  }
  const { nibbles, scales } = packedWeights(matmulCase);
  return Float32Array.from({ length: outputs * inputs }, (_, index) => {
    const byte = nibbles[index >> 1] ?? 0;
    const code = index % 2 === 0 ? byte & 15 : byte >> 4;
    return (code - 8) * (scales[Math.floor(index / BLOCK)] ?? 0);
  });
}

/** The first row of the product in double precision. */
export function expectedRow(matmulCase: MatmulCase): Float32Array {
  const { outputs, inputs } = matmulCase;
  const x = matmulInput({ ...matmulCase, rows: 1 });
  const weights = matmulWeights(matmulCase);
  return Float32Array.from({ length: outputs }, (_, n) => {
    let sum = 0;
    for (let k = 0; k < inputs; k++) sum += (x[k] ?? 0) * (weights[n * inputs + k] ?? 0);
    return sum;
  });
}

import type { PackedMatrix } from '../kernels/weightFormat.ts';
import { AlloyError } from '../util/errors.ts';

const F32_EXPONENT = 0x7f80_0000;
const F16_EXPONENT = 0x7c00;

/**
 * Refuses weights that are NaN or infinite: everything computed with them would be, far from where it could be explained.
 * Of quantized matrices the scales and offsets are looked at; their codes cannot be wrong.
 * @throws AlloyError `bad-file` naming the tensor
 */
export function checkFinite(file: string, name: string, weights: PackedMatrix | Float32Array): void {
  if (areFinite(weights)) return;
  throw new AlloyError(
    'bad-file',
    `${file}: the tensor ${name} holds numbers that are not finite; the file is damaged, get it again.`,
  );
}

function areFinite(weights: PackedMatrix | Float32Array): boolean {
  if (weights instanceof Float32Array) return singlesAreFinite(weights);
  const { format, data, scales } = weights;
  if (format.kind === 'f32') return singlesAreFinite(data);
  if (format.kind === 'f16') return halvesAreFinite(data);
  return (
    scales === undefined || (format.scales === 'f16' ? halvesAreFinite(scales) : singlesAreFinite(scales))
  );
}

function wordsOf({ buffer, byteOffset, length }: Float32Array | Uint32Array): Uint32Array {
  return new Uint32Array(buffer, byteOffset, length);
}

function singlesAreFinite(values: Float32Array | Uint32Array): boolean {
  const words = wordsOf(values);
  for (let at = 0; at < words.length; at++)
    if (((words[at] ?? 0) & F32_EXPONENT) === F32_EXPONENT) return false;
  return true;
}

/** Two numbers in a word. */
function halvesAreFinite(values: Float32Array | Uint32Array): boolean {
  const words = wordsOf(values);
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? 0;
    if ((word & F16_EXPONENT) === F16_EXPONENT || ((word >>> 16) & F16_EXPONENT) === F16_EXPONENT)
      return false;
  }
  return true;
}

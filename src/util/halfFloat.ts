/** IEEE half floats and bfloat16 as 16-bit patterns. Conversions to f32 are exact; those from f32 round to nearest, ties to even. */

const scratchFloat = new Float32Array(1);
const scratchBits = new Uint32Array(scratchFloat.buffer);
let halfTable: Float32Array | undefined;

function halfBitsToFloatBits(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >> 10) & 31;
  const fraction = half & 0x3ff;
  if (exponent === 31) return (sign | 0x7f800000 | (fraction << 13)) >>> 0;
  if (exponent !== 0) return (sign | ((exponent + 112) << 23) | (fraction << 13)) >>> 0;
  if (fraction === 0) return sign >>> 0;
  const shift = Math.clz32(fraction) - 21;
  return (sign | ((113 - shift) << 23) | (((fraction << shift) & 0x3ff) << 13)) >>> 0;
}

/** The f32 value of each of the 65,536 half floats, indexed by bit pattern (256 KiB, made on first use). */
export function halfFloatTable(): Float32Array {
  if (halfTable === undefined) {
    const bits = new Uint32Array(65536);
    for (let half = 0; half < 65536; half++) bits[half] = halfBitsToFloatBits(half);
    halfTable = new Float32Array(bits.buffer);
  }
  return halfTable;
}

/** The f32 value of one half float. */
export function halfToFloat(half: number): number {
  return halfFloatTable()[half & 0xffff] ?? 0;
}

/** The half float nearest to a number (first rounded to f32), ties to even; too large becomes infinite. */
export function floatToHalf(value: number): number {
  scratchFloat[0] = value;
  const bits = scratchBits[0] ?? 0;
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude >= 0x38800000) {
    const rebased = magnitude - 0x38000000;
    return sign | ((rebased + 0xfff + ((rebased >>> 13) & 1)) >>> 13);
  }
  if (magnitude <= 0x33000000) return sign;
  const shift = 126 - (magnitude >>> 23);
  const fraction = (magnitude & 0x7fffff) | 0x800000;
  const kept = fraction >>> shift;
  const rest = fraction & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return sign | (kept + (rest > half || (rest === half && (kept & 1) === 1) ? 1 : 0));
}

/** The bfloat16 nearest to a number (first rounded to f32), ties to even. */
export function floatToBfloat(value: number): number {
  scratchFloat[0] = value;
  const bits = scratchBits[0] ?? 0;
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** Half floats → f32. */
export function halvesToFloats(halves: Uint16Array): Float32Array<ArrayBuffer> {
  const table = halfFloatTable();
  const floats = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) floats[i] = table[halves[i] ?? 0] ?? 0;
  return floats;
}

/** bfloat16 → f32. */
export function bfloatsToFloats(bfloats: Uint16Array): Float32Array<ArrayBuffer> {
  const bits = new Uint32Array(bfloats.length);
  for (let i = 0; i < bfloats.length; i++) bits[i] = (bfloats[i] ?? 0) << 16;
  return new Float32Array(bits.buffer);
}

/** f32 → half floats, nearest, ties to even. */
export function floatsToHalves(floats: ArrayLike<number>): Uint16Array<ArrayBuffer> {
  const halves = new Uint16Array(floats.length);
  for (let i = 0; i < floats.length; i++) halves[i] = floatToHalf(floats[i] ?? 0);
  return halves;
}

/** f32 → bfloat16, nearest, ties to even. */
export function floatsToBfloats(floats: ArrayLike<number>): Uint16Array<ArrayBuffer> {
  const bfloats = new Uint16Array(floats.length);
  for (let i = 0; i < floats.length; i++) bfloats[i] = floatToBfloat(floats[i] ?? 0);
  return bfloats;
}

import { scratch } from './lib/scratch';
import { address, whole } from './lib/slots';
import { largest } from './lib/softmax';
import { load4, store4 } from './lib/vectors';

/** Elements that share a scale: `MOMENT_BLOCK` of `adamw8bit.ts`. */
const BLOCK: u32 = 256;
/** Scales below this count as 0. */
const SMALLEST: f32 = 1e-30;

/** Codes of a map. */
const CODES: u32 = 256;
/** The code of 0 in the first map. */
const ZERO: u32 = 127;

/**
 * Where to look for the code of a number of up to 1: its exponent and seven digits say from which code on, and codes are so
 * far apart that it is this one or the next. A table for numbers above 0 and one for those below, of the first map, and one
 * of the second. Numbers below 2^-24 are below all codes but 0.
 */
const BUCKET_BITS: u32 = 16;
const FIRST_BUCKET: u32 = 0x33800000 >> BUCKET_BITS;
const BUCKETS: u32 = (0x3f800000 >> BUCKET_BITS) - FIRST_BUCKET + 1;
const TABLE: usize = 4096;

/** What a block keeps in scratch, behind the tables. */
const FIRSTS: usize = 3 * TABLE;
const ROOTS: usize = FIRSTS + 1024;
const SIZES: usize = ROOTS + 1024;

/** Slots: w, g, m, v, scales, codes, hyper, gradScale; count. Pieces: blocks of 256 elements. */
export function adamw8bit(slots: usize, from: u32, to: u32): void {
  const scale = load<f32>(address(slots, 7));
  if (scale === 0) return;
  const m = address(slots, 2);
  const v = address(slots, 3);
  const scales = address(slots, 4);
  const codes = address(slots, 5);
  const hyper = address(slots, 6);
  const count = whole(slots, 8);
  const space = scratch();
  const step = <u32>load<f32>(hyper, 32);
  buildTables(codes, space);
  for (let block = from; block < to; block++) {
    const begin = block * BLOCK;
    const size = min(count - begin, BLOCK);
    const pair = scales + (block << 3);
    unpack(m + begin, codes, space + FIRSTS, size, load<f32>(pair));
    unpack(v + begin, codes + CODES * 4, space + ROOTS, size, load<f32>(pair, 4));
    update(slots, space, begin, size, scale);
    const first = largest(space + SIZES, size, 0);
    const root = largest(space + ROOTS, size, 0);
    packFirsts(m + begin, codes, space, size, first);
    packRoots(v + begin, codes + CODES * 4, space, size, root, begin, step);
    store<f32>(pair, first > SMALLEST ? first : 0);
    store<f32>(pair, root > SMALLEST ? root : 0, 4);
  }
}

function unpack(packed: usize, codes: usize, into: usize, size: u32, scale: f32): void {
  const scales = f32x4.splat(scale);
  for (let i: u32 = 0; i < size; i += 4) {
    const word = load<u32>(packed + i);
    let lanes = v128.load32_zero(codes + ((word & 255) << 2));
    lanes = v128.load32_lane(codes + (((word >> 8) & 255) << 2), lanes, 1);
    lanes = v128.load32_lane(codes + (((word >> 16) & 255) << 2), lanes, 2);
    lanes = v128.load32_lane(codes + ((word >> 24) << 2), lanes, 3);
    v128.store(into + (i << 2), f32x4.mul(lanes, scales));
  }
}

/** The step of a block with the moments in scratch, which become the new ones; the first ones' sizes go there too. */
function update(slots: usize, space: usize, begin: u32, size: u32, scale: f32): void {
  const w = address(slots, 0) + (begin << 2);
  const g = address(slots, 1) + (begin << 2);
  const hyper = address(slots, 6);
  const rate = load<f32>(hyper);
  const gradientScales = f32x4.splat(scale);
  const keepFirst = f32x4.splat(load<f32>(hyper, 4));
  const addFirst = f32x4.splat(<f32>1 - load<f32>(hyper, 4));
  const keepSecond = f32x4.splat(load<f32>(hyper, 8));
  const addSecond = f32x4.splat(load<f32>(hyper, 28));
  const epsilon = f32x4.splat(load<f32>(hyper, 12));
  const keepWeight = f32x4.splat(<f32>1 - rate * load<f32>(hyper, 16));
  const rates = f32x4.splat(rate);
  const firstShare = f32x4.splat(load<f32>(hyper, 20));
  const secondShare = f32x4.splat(load<f32>(hyper, 24));
  for (let i: u32 = 0; i < size; i += 4) {
    const at: usize = i << 2;
    const left = size - i;
    const gradient = f32x4.mul(gradientScales, load4(g + at, left));
    const oldRoot = v128.load(space + at, ROOTS);
    const first = f32x4.add(
      f32x4.mul(keepFirst, v128.load(space + at, FIRSTS)),
      f32x4.mul(addFirst, gradient),
    );
    const second = f32x4.add(
      f32x4.mul(f32x4.mul(keepSecond, oldRoot), oldRoot),
      f32x4.mul(f32x4.mul(addSecond, gradient), gradient),
    );
    v128.store(space + at, first, FIRSTS);
    v128.store(space + at, f32x4.abs(first), SIZES);
    v128.store(space + at, f32x4.sqrt(second), ROOTS);
    const below = f32x4.add(f32x4.sqrt(f32x4.div(second, secondShare)), epsilon);
    const direction = f32x4.div(f32x4.div(first, firstShare), below);
    const weight = f32x4.sub(f32x4.mul(load4(w + at, left), keepWeight), f32x4.mul(rates, direction));
    store4(w + at, weight, left);
  }
}

/** The codes nearest to the first moments. */
function packFirsts(packed: usize, codes: usize, space: usize, size: u32, most: f32): void {
  const firsts = space + FIRSTS;
  divide(firsts, size, most);
  for (let i: u32 = 0; i < size; i += 4) {
    let word: u32 = 0;
    for (let k: u32 = 0; k < 4; k++) {
      const code = most > SMALLEST ? firstCode(codes, space, load<f32>(firsts + ((i + k) << 2))) : ZERO;
      word |= code << (8 * k);
    }
    store<u32>(packed + i, word);
  }
}

function firstCode(codes: usize, tables: usize, x: f32): u32 {
  const below = codeBelow(codes, select<usize>(tables + TABLE, tables, x < 0), x);
  const above = min(below + 1, CODES - 1);
  const nearer = load<f32>(codes + (above << 2)) - x < x - load<f32>(codes + (below << 2));
  return select<u32>(above, below, nearer);
}

/** The codes around the roots of the second moments, one of the two by chance. */
function packRoots(
  packed: usize,
  codes: usize,
  space: usize,
  size: u32,
  most: f32,
  begin: u32,
  step: u32,
): void {
  const roots = space + ROOTS;
  const table = space + 2 * TABLE;
  divide(roots, size, most);
  for (let i: u32 = 0; i < size; i += 4) {
    let word: u32 = 0;
    if (most > SMALLEST) {
      for (let k: u32 = 0; k < 4; k++) {
        const share = randomShare(begin + i + k, step);
        word |= secondCode(codes, table, load<f32>(roots + ((i + k) << 2)), share) << (8 * k);
      }
    }
    store<u32>(packed + i, word);
  }
}

function secondCode(codes: usize, table: usize, x: f32, share: f32): u32 {
  const below = codeBelow(codes, table, x);
  const above = min(below + 1, CODES - 1);
  const low = load<f32>(codes + (below << 2));
  const high = load<f32>(codes + (above << 2));
  const up = i32(x >= low) & i32(share * (high * high - low * low) < x * x - low * low);
  return select<u32>(above, below, up);
}

function divide(x: usize, size: u32, by: f32): void {
  const divisors = f32x4.splat(by);
  for (let i: u32 = 0; i < size; i += 4) {
    v128.store(x + (i << 2), f32x4.div(v128.load(x + (i << 2)), divisors));
  }
}

/** The last code that does not stand for more than x, or 0. */
function codeBelow(codes: usize, table: usize, x: f32): u32 {
  const bits = (reinterpret<u32>(x) & 0x7fffffff) >> BUCKET_BITS;
  const bucket = min(max(bits, FIRST_BUCKET) - FIRST_BUCKET, BUCKETS - 1);
  const code: u32 = load<u8>(table + bucket);
  return code + u32(load<f32>(codes + (code << 2), 4) <= x);
}

function buildTables(codes: usize, tables: usize): void {
  buildRising(codes, tables);
  buildRising(codes + CODES * 4, tables + 2 * TABLE);
  let code: u32 = 0;
  for (let bucket: i32 = BUCKETS - 1; bucket >= 0; bucket--) {
    const least = -reinterpret<f32>((bucket + 1 + FIRST_BUCKET) << BUCKET_BITS);
    code = advance(codes, code, least);
    store<u8>(tables + TABLE + bucket, code);
  }
}

function buildRising(codes: usize, table: usize): void {
  let code: u32 = 0;
  for (let bucket: u32 = 0; bucket < BUCKETS; bucket++) {
    const least: f32 = bucket === 0 ? 0 : reinterpret<f32>((bucket + FIRST_BUCKET) << BUCKET_BITS);
    code = advance(codes, code, least);
    store<u8>(table + bucket, code);
  }
}

/** The last code but one at most, so that the next may always be looked at. */
function advance(codes: usize, from: u32, least: f32): u32 {
  let code = from;
  while (code < CODES - 2 && load<f32>(codes + (code << 2), 4) <= least) code++;
  return code;
}

/** `RANDOM` of `adamw8bit.ts`: a hash of element and step as a number in 0 … 1. */
function randomShare(element: u32, step: u32): f32 {
  let x: u32 = element * 747796405 + step * 2891336453 + 1;
  x = ((x >> ((x >> 28) + 4)) ^ x) * 277803737;
  x = (x >> 22) ^ x;
  x ^= x >> 16;
  x *= 0x7feb352d;
  x ^= x >> 15;
  return <f32>(x >> 8) / 16777216.0;
}

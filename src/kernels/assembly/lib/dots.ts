/** Products with a few rows: every weight is read once, decoded, and multiplied with all of them. */
import { halvesToFloats, highHalves, lowHalves } from './decode';
import * as the from './product';
import { scratch } from './scratch';
import { storeTile } from './tile';
import { dot } from './vectors';

/** Decoded weights of a column at a time. */
const DEPTH: u32 = 2048;
const FACTORS: usize = 256;
const WEIGHTS: usize = 512;

/** The columns j .. end of all rows. */
export function dotColumns(j: u32, end: u32): void {
  const memory = scratch();
  for (; j < end; j++) {
    store<f32>(memory + FACTORS, the.alpha * the.factorOf(j));
    let r: u32 = 0;
    do {
      const depth = min(DEPTH, the.rCount - r);
      const weights = decodeColumn(memory + WEIGHTS, j, r, depth);
      for (let i: u32 = 0; i < the.iCount; i++) {
        const row = the.left + the.leftPitch * i + ((<usize>r) << 2);
        store<f32>(memory, dot(row, weights, depth));
        storeTile(memory, memory + FACTORS, i, j, 1, 1, r === 0);
      }
      r += DEPTH;
    } while (r < the.rCount);
  }
}

/** Where the weights of column j lie as f32. */
function decodeColumn(into: usize, j: u32, r: u32, depth: u32): usize {
  const row = the.right + the.rightPitch * j + <usize>(r >>> 3) * the.bits;
  if (the.bits === 32) return row;
  if (the.bits === 16) {
    for (let at: usize = 0; at < depth; at++) {
      const value = halvesToFloats(i32x4.splat(load<u16>(row + (at << 1))));
      store<f32>(into + (at << 2), f32x4.extract_lane(value, 0));
    }
    return into;
  }
  const pairs = the.pairs + the.pairPitch * j;
  for (let at: u32 = 0; at < depth; at++) {
    const pair = pairs + ((<usize>((r + at) / the.group)) << (the.widePairs ? 3 : 2));
    let scale: f32;
    let minimum: f32;
    if (the.widePairs) {
      scale = load<f32>(pair);
      minimum = load<f32>(pair, 4);
    } else {
      const word = v128.load32_zero(pair);
      scale = f32x4.extract_lane(lowHalves(word), 0);
      minimum = f32x4.extract_lane(highHalves(word), 0);
    }
    const code =
      the.bits === 8 ? <u32>load<u8>(row + at) : (<u32>load<u8>(row + (at >>> 1)) >>> ((at & 1) << 2)) & 15;
    store<f32>(into + ((<usize>at) << 2), <f32>code * scale + minimum);
  }
  return into;
}

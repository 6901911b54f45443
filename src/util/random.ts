/**
 * Random numbers that depend on nothing but (seed, stream, counter): the same on every machine and in every order of
 * asking. Philox 4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). The key
 * is the seed, the counter block is (counter, stream). Values are made with + − × ÷ √ alone, which IEEE 754 fixes to
 * the last bit, so not even the logarithm of a normal depends on an engine's library.
 */
import { AlloyError } from './errors.ts';

type Block = readonly [number, number, number, number];

const ROUNDS = 10;

/** High and low 32 bits of a·b. */
function multiply(a: number, b: number): [high: number, low: number] {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const carried = aLow * bHigh + (middle & 0xffff);
  const high = aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(carried / 0x10000);
  return [high >>> 0, Math.imul(a, b) >>> 0];
}

/** Philox 4x32 with ten rounds: four 32-bit words for a counter block and a key. */
export function philox(counter: Block, key: readonly [number, number]): Block {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < ROUNDS; round++) {
    const [high0, low0] = multiply(0xd2511f53, c0);
    const [high1, low1] = multiply(0xcd9e8d57, c2);
    [c0, c1, c2, c3] = [(high1 ^ c1 ^ k0) >>> 0, low1, (high0 ^ c3 ^ k1) >>> 0, low0];
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** Numbers for one purpose. */
export interface RandomStream {
  /** In [0, 1), 53 bits. */
  uniform(counter: number): number;
  /** Mean 0, variance 1. */
  normal(counter: number): number;
}

/**
 * @param seed integer, 0 to 2^53 − 1
 * @param stream what the numbers are for: a name ("lora.init/model.layers.0…"), or a number
 * @throws AlloyError `bad-argument` for a seed that is no such integer
 */
export function randomStream(seed: number, stream: string | number): RandomStream {
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new AlloyError('bad-argument', `The seed is ${seed}; give a whole number from 0 to 2^53 - 1.`);
  }
  const key = [seed >>> 0, Math.floor(seed / 2 ** 32)] as const;
  const [streamLow, streamHigh] = hashName(String(stream));
  const block = (counter: number) =>
    philox([counter >>> 0, Math.floor(counter / 2 ** 32) >>> 0, streamLow, streamHigh], key);
  return {
    uniform: (counter) => {
      const [a, b] = block(counter);
      return unit(a, b);
    },
    normal: (counter) => polar(block(counter), key),
  };
}

/** One number in [0, 1); for many from one stream, `randomStream` is faster. */
export function uniform(seed: number, stream: string | number, counter: number): number {
  return randomStream(seed, stream).uniform(counter);
}

/** One number of the standard normal distribution; for many from one stream, `randomStream` is faster. */
export function normal(seed: number, stream: string | number, counter: number): number {
  return randomStream(seed, stream).normal(counter);
}

/** A new array with the items in random order (Fisher and Yates). */
export function shuffle<T>(items: readonly T[], seed: number, stream: string | number): T[] {
  const numbers = randomStream(seed, stream);
  const shuffled = [...items];
  for (let last = shuffled.length - 1; last > 0; last--) {
    const other = Math.floor(numbers.uniform(last) * (last + 1));
    const moved = shuffled[last] as T;
    shuffled[last] = shuffled[other] as T;
    shuffled[other] = moved;
  }
  return shuffled;
}

function unit(a: number, b: number): number {
  return ((a >>> 5) * 2 ** 26 + (b >>> 6)) / 2 ** 53;
}

/** Marsaglia's polar method; a rejected pair (21 %) is replaced by encrypting the block once more. */
function polar(first: Block, key: readonly [number, number]): number {
  let block = first;
  for (;;) {
    const [a, b, c, d] = block;
    const x = 2 * unit(a, b) - 1;
    const y = 2 * unit(c, d) - 1;
    const square = x * x + y * y;
    if (square > 0 && square < 1) return x * Math.sqrt((-2 * logarithm(square)) / square);
    block = philox(block, key);
  }
}

const bits = new DataView(new ArrayBuffer(8));

/** ln x for normal positive x from basic operations: x = m·2^e, ln m = 2 artanh((m − 1) / (m + 1)). */
export function logarithm(x: number): number {
  bits.setFloat64(0, x);
  let exponent = (bits.getUint32(0) >>> 20) - 1023;
  bits.setUint32(0, (bits.getUint32(0) & 0xfffff) | 0x3ff00000);
  let mantissa = bits.getFloat64(0);
  if (mantissa > Math.SQRT2) {
    mantissa /= 2;
    exponent++;
  }
  const f = (mantissa - 1) / (mantissa + 1);
  const square = f * f;
  let series = 0;
  for (let odd = 23; odd >= 1; odd -= 2) series = series * square + 1 / odd;
  return 2 * f * series + exponent * Math.LN2;
}

/** The words of the counter block and the key that belong to a stream: for kernels that draw the same numbers. */
export function streamWords(
  seed: number,
  stream: string,
): { key: readonly [number, number]; stream: readonly [number, number] } {
  return { key: [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0], stream: hashName(stream) };
}

/** 64 bits of a name: FNV-1a over its UTF-8 bytes, twice with different starts, then mixed. */
function hashName(name: string): [number, number] {
  let low = 0x811c9dc5;
  let high = 0x9747b28c;
  for (const byte of new TextEncoder().encode(name)) {
    low = Math.imul(low ^ byte, 0x01000193);
    high = Math.imul(high ^ byte ^ (low >>> 24), 0x01000193);
  }
  return [mix(low), mix(high ^ low)];
}

function mix(word: number): number {
  let h = word;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

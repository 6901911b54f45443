/**
 * What the bits of one quantized GGUF block say: unsigned codes `q` and, for each group of them, a scale and a minimum.
 * A value is `scale · (q − zero)` for types with a fixed zero, else `scale · q + minimum`. Layouts: ggml's ggml-common.h.
 */
import { halfFloatTable } from '../util/halfFloat.ts';
import { iqBlockDecoders } from './ggufIqBlocks.ts';
import type { GgufTypeName } from './ggufTypes.ts';

/** Where one block is decoded to. `scales` and `minima` are reused from block to block. */
export interface DecodedBlock {
  /** One code an element, in the order of the row, from `codes[start]` on. */
  readonly codes: Uint8Array;
  start: number;
  /** One scale a group. */
  readonly scales: Float32Array;
  /** One minimum a group; written only by types whose `zero` is null. */
  readonly minima: Float32Array;
}

export interface BlockDecoder {
  /** Elements that share a scale. */
  readonly group: 16 | 32;
  /** Bits that hold every code: 4 or 8. */
  readonly bits: 4 | 8;
  /** The code whose value is 0 (it may lie between two), or null where each group has a minimum. */
  readonly zero: number | null;
  /** Reads the block that starts at byte `at`. */
  decode(raw: Uint8Array, at: number, block: DecodedBlock): void;
}

const halves = halfFloatTable();

function half(raw: Uint8Array, at: number): number {
  return halves[(raw[at] ?? 0) | ((raw[at + 1] ?? 0) << 8)] ?? 0;
}

function byte(raw: Uint8Array, at: number): number {
  return raw[at] ?? 0;
}

function signed(raw: Uint8Array, at: number): number {
  return ((raw[at] ?? 0) << 24) >> 24;
}

/** 2·n nibbles: the low ones are elements 0 … n−1, the high ones n … 2n−1. */
function nibbles(raw: Uint8Array, at: number, count: number, codes: Uint8Array, to: number): void {
  for (let i = 0; i < count; i++) {
    const pair = byte(raw, at + i);
    codes[to + i] = pair & 15;
    codes[to + count + i] = pair >> 4;
  }
}

/** 128 bytes-worth of 2-bit codes: bits (0,1) of 32 bytes, then bits (2,3) of the same, and so on; twice. */
function twoBits(raw: Uint8Array, at: number, codes: Uint8Array, to: number): void {
  for (let i = 0; i < 256; i++)
    codes[to + i] = (byte(raw, at + (i >> 7) * 32 + (i & 31)) >> (((i >> 5) & 3) * 2)) & 3;
}

/** 16 bytes of nibbles like `nibbles`, whose fifth bits are the 32 bits at `high`. */
function fiveBits(raw: Uint8Array, high: number, at: number, codes: Uint8Array, to: number): void {
  const first = byte(raw, high) | (byte(raw, high + 1) << 8);
  const second = byte(raw, high + 2) | (byte(raw, high + 3) << 8);
  for (let i = 0; i < 16; i++) {
    const pair = byte(raw, at + i);
    codes[to + i] = (pair & 15) | (((first >> i) & 1) << 4);
    codes[to + 16 + i] = (pair >> 4) | (((second >> i) & 1) << 4);
  }
}

/** Adds the bit planes of Q3_K, Q5_K: bit n of 32 bytes belongs to the n-th 32 elements. */
function bitPlanes(raw: Uint8Array, at: number, codes: Uint8Array, to: number, shift: number): void {
  for (let i = 0; i < 256; i++)
    codes[to + i] = (codes[to + i] ?? 0) | (((byte(raw, at + (i & 31)) >> (i >> 5)) & 1) << shift);
}

/** The eight 6-bit scales and minima of Q4_K and Q5_K, packed in 12 bytes, times d and −dmin. */
function sixBitScales(raw: Uint8Array, at: number, block: DecodedBlock): void {
  const d = half(raw, at);
  const dmin = half(raw, at + 2);
  for (let g = 0; g < 4; g++) {
    const low = byte(raw, at + 4 + g);
    const middle = byte(raw, at + 8 + g);
    const high = byte(raw, at + 12 + g);
    block.scales[g] = d * (low & 63);
    block.minima[g] = -(dmin * (middle & 63));
    block.scales[g + 4] = d * ((high & 15) | ((low >> 2) & 48));
    block.minima[g + 4] = -(dmin * ((high >> 4) | ((middle >> 2) & 48)));
  }
}

const q4_0: BlockDecoder = {
  group: 32,
  bits: 4,
  zero: 8,
  decode(raw, at, block) {
    block.scales[0] = half(raw, at);
    nibbles(raw, at + 2, 16, block.codes, block.start);
  },
};

const q4_1: BlockDecoder = {
  group: 32,
  bits: 4,
  zero: null,
  decode(raw, at, block) {
    block.scales[0] = half(raw, at);
    block.minima[0] = half(raw, at + 2);
    nibbles(raw, at + 4, 16, block.codes, block.start);
  },
};

const q5_0: BlockDecoder = {
  group: 32,
  bits: 8,
  zero: 16,
  decode(raw, at, block) {
    block.scales[0] = half(raw, at);
    fiveBits(raw, at + 2, at + 6, block.codes, block.start);
  },
};

const q5_1: BlockDecoder = {
  group: 32,
  bits: 8,
  zero: null,
  decode(raw, at, block) {
    block.scales[0] = half(raw, at);
    block.minima[0] = half(raw, at + 2);
    fiveBits(raw, at + 4, at + 8, block.codes, block.start);
  },
};

const q8_0: BlockDecoder = {
  group: 32,
  bits: 8,
  zero: 128,
  decode(raw, at, block) {
    block.scales[0] = half(raw, at);
    const { codes, start } = block;
    for (let i = 0; i < 32; i++) codes[start + i] = byte(raw, at + 2 + i) ^ 128;
  },
};

const q2_k: BlockDecoder = {
  group: 16,
  bits: 4,
  zero: null,
  decode(raw, at, block) {
    const d = half(raw, at + 80);
    const dmin = half(raw, at + 82);
    for (let g = 0; g < 16; g++) {
      const pair = byte(raw, at + g);
      block.scales[g] = d * (pair & 15);
      block.minima[g] = -(dmin * (pair >> 4));
    }
    twoBits(raw, at + 16, block.codes, block.start);
  },
};

const q3_k: BlockDecoder = {
  group: 16,
  bits: 4,
  zero: 4,
  decode(raw, at, block) {
    const d = half(raw, at + 108);
    for (let g = 0; g < 16; g++) {
      const pair = byte(raw, at + 96 + (g & 7));
      const low = g < 8 ? pair & 15 : pair >> 4;
      const high = (byte(raw, at + 104 + (g & 3)) >> ((g >> 2) * 2)) & 3;
      block.scales[g] = d * ((low | (high << 4)) - 32);
    }
    twoBits(raw, at + 32, block.codes, block.start);
    bitPlanes(raw, at, block.codes, block.start, 2);
  },
};

const q4_k: BlockDecoder = {
  group: 32,
  bits: 4,
  zero: null,
  decode(raw, at, block) {
    sixBitScales(raw, at, block);
    for (let pair = 0; pair < 4; pair++)
      nibbles(raw, at + 16 + pair * 32, 32, block.codes, block.start + pair * 64);
  },
};

const q5_k: BlockDecoder = {
  group: 32,
  bits: 8,
  zero: null,
  decode(raw, at, block) {
    sixBitScales(raw, at, block);
    for (let pair = 0; pair < 4; pair++)
      nibbles(raw, at + 48 + pair * 32, 32, block.codes, block.start + pair * 64);
    bitPlanes(raw, at + 16, block.codes, block.start, 4);
  },
};

const q6_k: BlockDecoder = {
  group: 16,
  bits: 8,
  zero: 32,
  decode(raw, at, block) {
    const d = half(raw, at + 208);
    const { codes, start } = block;
    for (let g = 0; g < 16; g++) block.scales[g] = d * signed(raw, at + 192 + g);
    for (let part = 0; part < 2; part++) {
      const to = start + part * 128;
      nibbles(raw, at + part * 64, 64, codes, to);
      for (let i = 0; i < 128; i++) {
        const high = (byte(raw, at + 128 + part * 32 + (i & 31)) >> ((i >> 5) * 2)) & 3;
        codes[to + i] = (codes[to + i] ?? 0) | (high << 4);
      }
    }
  },
};

/** The non-linear 4-bit codebook of the IQ4 types, plus 128. */
const iq4Codes = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113].map(
  (value) => value + 128,
);
/** Twice the values of a 4-bit float (E2M1), plus 12. */
const fp4Codes = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12].map((value) => value + 12);

function lookUp({ codes, start }: DecodedBlock, count: number, book: readonly number[]): void {
  for (let i = start; i < start + count; i++) codes[i] = book[codes[i] ?? 0] ?? 0;
}

const iq4_nl: BlockDecoder = {
  group: 32,
  bits: 8,
  zero: 128,
  decode(raw, at, block) {
    block.scales[0] = half(raw, at);
    nibbles(raw, at + 2, 16, block.codes, block.start);
    lookUp(block, 32, iq4Codes);
  },
};

const iq4_xs: BlockDecoder = {
  group: 32,
  bits: 8,
  zero: 128,
  decode(raw, at, block) {
    const d = half(raw, at);
    const highs = byte(raw, at + 2) | (byte(raw, at + 3) << 8);
    for (let g = 0; g < 8; g++) {
      const low = (byte(raw, at + 4 + (g >> 1)) >> ((g & 1) * 4)) & 15;
      block.scales[g] = d * ((low | (((highs >> (g * 2)) & 3) << 4)) - 32);
      nibbles(raw, at + 8 + g * 16, 16, block.codes, block.start + g * 32);
    }
    lookUp(block, 256, iq4Codes);
  },
};

/** Five base-3 digits a byte, the highest first: digit = the top of (byte · 3^n mod 256) · 3. */
function ternary(raw: Uint8Array, at: number, width: number, digits: number, codes: Uint8Array, to: number) {
  for (let digit = 0, power = 1; digit < digits; digit++, power *= 3)
    for (let i = 0; i < width; i++)
      codes[to + digit * width + i] = (((byte(raw, at + i) * power) & 255) * 3) >> 8;
}

/** All 256 elements of TQ1_0 and TQ2_0 share one scale. */
function oneScale(raw: Uint8Array, at: number, block: DecodedBlock): void {
  block.scales.fill(half(raw, at));
}

const tq1_0: BlockDecoder = {
  group: 32,
  bits: 4,
  zero: 1,
  decode(raw, at, block) {
    oneScale(raw, at + 52, block);
    ternary(raw, at, 32, 5, block.codes, block.start);
    ternary(raw, at + 32, 16, 5, block.codes, block.start + 160);
    ternary(raw, at + 48, 4, 4, block.codes, block.start + 240);
  },
};

const tq2_0: BlockDecoder = {
  group: 32,
  bits: 4,
  zero: 1,
  decode(raw, at, block) {
    oneScale(raw, at + 64, block);
    twoBits(raw, at, block.codes, block.start);
  },
};

const mxfp4: BlockDecoder = {
  group: 32,
  bits: 8,
  zero: 12,
  decode(raw, at, block) {
    block.scales[0] = 2 ** (byte(raw, at) - 128);
    nibbles(raw, at + 1, 16, block.codes, block.start);
    lookUp(block, 32, fp4Codes);
  },
};

/** Half of an unsigned E4M3 number; 0x7f stands for 0. */
function halfE4m3(bits: number): number {
  if (bits === 0x7f) return 0;
  const exponent = (bits >> 3) & 15;
  const fraction = bits & 7;
  return exponent === 0 ? fraction * 2 ** -10 : (8 + fraction) * 2 ** (exponent - 11);
}

const nvfp4: BlockDecoder = {
  group: 16,
  bits: 8,
  zero: 12,
  decode(raw, at, block) {
    for (let g = 0; g < 4; g++) {
      block.scales[g] = halfE4m3(byte(raw, at + g));
      nibbles(raw, at + 4 + g * 8, 8, block.codes, block.start + g * 16);
    }
    lookUp(block, 64, fp4Codes);
  },
};

/** Decoders by type; a type that is missing here cannot be read. */
export const blockDecoders: ReadonlyMap<GgufTypeName, BlockDecoder> = new Map<GgufTypeName, BlockDecoder>([
  ['Q4_0', q4_0],
  ['Q4_1', q4_1],
  ['Q5_0', q5_0],
  ['Q5_1', q5_1],
  ['Q8_0', q8_0],
  ['Q2_K', q2_k],
  ['Q3_K', q3_k],
  ['Q4_K', q4_k],
  ['Q5_K', q5_k],
  ['Q6_K', q6_k],
  ['IQ4_NL', iq4_nl],
  ['IQ4_XS', iq4_xs],
  ['TQ1_0', tq1_0],
  ['TQ2_0', tq2_0],
  ['MXFP4', mxfp4],
  ['NVFP4', nvfp4],
  ...iqBlockDecoders,
]);

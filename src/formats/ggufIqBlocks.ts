/**
 * Blocks of the IQ1, IQ2 and IQ3 types: every 4 or 8 elements are a vector of a fixed grid, with signs (IQ2, IQ3) or a
 * shift of ±1/8 (IQ1), times a scale. In codes that are evenly spaced: IQ2 and IQ3_XXS as signed bytes, IQ3_S (the odd
 * numbers −15 … 15) and IQ1 (−9, −7, −1, 1, 7, 9 eighths) in 4 bits. Layouts: ggml's ggml-common.h.
 */
import { required } from '../util/errors.ts';
import { halfFloatTable } from '../util/halfFloat.ts';
import type { BlockDecoder, DecodedBlock } from './ggufBlocks.ts';
import {
  iq1Grid,
  iq2sGrid,
  iq2xsGrid,
  iq2xxsGrid,
  iq3sGrid,
  iq3xxsGrid,
  type PackedGrid,
} from './ggufIqGrids.ts';
import type { GgufTypeName } from './ggufTypes.ts';

const halves = halfFloatTable();

function byte(raw: Uint8Array, at: number): number {
  return raw[at] ?? 0;
}

function u16(raw: Uint8Array, at: number): number {
  return byte(raw, at) | (byte(raw, at + 1) << 8);
}

function half(raw: Uint8Array, at: number): number {
  return halves[u16(raw, at)] ?? 0;
}

/** All vectors of a grid, one after another, in the order of their numbers. */
export function readGrid({ width, values, members }: PackedGrid): Int8Array {
  const bits = Uint8Array.from(atob(members), (character) => character.charCodeAt(0));
  const entries: number[] = [];
  for (let number = 0; number < values.length ** width; number++) {
    if (((byte(bits, number >> 3) >> (number & 7)) & 1) === 0) continue;
    for (let i = 0, rest = number; i < width; i++, rest = Math.floor(rest / values.length))
      entries.push(required(values[rest % values.length], 'grid value'));
  }
  return Int8Array.from(entries);
}

/** Unpacked when the first block needs it: most files have no such types. */
function lazyGrid(packed: PackedGrid): () => Int8Array {
  let grid: Int8Array | undefined;
  return () => {
    grid ??= readGrid(packed);
    return grid;
  };
}

const iq1 = lazyGrid(iq1Grid);
const iq2xxs = lazyGrid(iq2xxsGrid);
const iq2xs = lazyGrid(iq2xsGrid);
const iq2s = lazyGrid(iq2sGrid);
const iq3xxs = lazyGrid(iq3xxsGrid);
const iq3s = lazyGrid(iq3sGrid);

/** Seven stored signs make eight: the last one brings the number of minus signs to an even one. */
const evenSigns = Uint8Array.from({ length: 128 }, (_, signs) => {
  let parity = 0;
  for (let bit = 0; bit < 7; bit++) parity ^= (signs >> bit) & 1;
  return signs | (parity << 7);
});

const signedZero = 64;

/** Writes `width` elements of vector `index` with the signs of the lowest bits of `signs` (1 is minus) as signed bytes. */
function signedVector(
  grid: Int8Array,
  width: 4 | 8,
  index: number,
  signs: number,
  codes: Uint8Array,
  to: number,
): void {
  for (let i = 0; i < width; i++) {
    const value = grid[index * width + i] ?? 0;
    codes[to + i] = ((signs >> i) & 1) === 0 ? signedZero + value : signedZero - value;
  }
}

const iq2_xxs: BlockDecoder = {
  group: 32,
  bits: 8,
  zero: signedZero,
  decode(raw, at, block) {
    const d = half(raw, at);
    for (let g = 0; g < 8; g++) {
      const from = at + 2 + g * 8;
      const low = u16(raw, from + 4);
      const high = u16(raw, from + 6);
      block.scales[g] = (d * (1 + 2 * (high >> 12))) / 8;
      for (let v = 0; v < 4; v++) {
        const signs = ((low | (high << 16)) >>> (7 * v)) & 127;
        const to = block.start + g * 32 + v * 8;
        signedVector(iq2xxs(), 8, byte(raw, from + v), byte(evenSigns, signs), block.codes, to);
      }
    }
  },
};

/** Sixteen 4-bit scales (1 + 2s) / 8 of IQ2_XS and IQ2_S. */
function nibbleScales(raw: Uint8Array, at: number, d: number, block: DecodedBlock): void {
  for (let g = 0; g < 16; g++)
    block.scales[g] = (d * (1 + 2 * ((byte(raw, at + (g >> 1)) >> ((g & 1) * 4)) & 15))) / 8;
}

const iq2_xs: BlockDecoder = {
  group: 16,
  bits: 8,
  zero: signedZero,
  decode(raw, at, block) {
    nibbleScales(raw, at + 66, half(raw, at), block);
    for (let v = 0; v < 32; v++) {
      const q = u16(raw, at + 2 + 2 * v);
      signedVector(iq2xs(), 8, q & 511, byte(evenSigns, q >> 9), block.codes, block.start + v * 8);
    }
  },
};

const iq2_s: BlockDecoder = {
  group: 16,
  bits: 8,
  zero: signedZero,
  decode(raw, at, block) {
    nibbleScales(raw, at + 74, half(raw, at), block);
    for (let v = 0; v < 32; v++) {
      const high = (byte(raw, at + 66 + (v >> 2)) >> ((v & 3) * 2)) & 3;
      const index = byte(raw, at + 2 + v) | (high << 8);
      signedVector(iq2s(), 8, index, byte(raw, at + 34 + v), block.codes, block.start + v * 8);
    }
  },
};

const iq3_xxs: BlockDecoder = {
  group: 32,
  bits: 8,
  zero: signedZero,
  decode(raw, at, block) {
    const d = half(raw, at);
    for (let g = 0; g < 8; g++) {
      const low = u16(raw, at + 66 + g * 4);
      const high = u16(raw, at + 68 + g * 4);
      block.scales[g] = (d * (1 + 2 * (high >> 12))) / 4;
      for (let v = 0; v < 8; v++) {
        const signs = byte(evenSigns, ((low | (high << 16)) >>> (7 * (v >> 1))) & 127) >> ((v & 1) * 4);
        const index = byte(raw, at + 2 + g * 8 + v);
        signedVector(iq3xxs(), 4, index, signs, block.codes, block.start + g * 32 + v * 4);
      }
    }
  },
};

const iq3_s: BlockDecoder = {
  group: 32,
  bits: 4,
  zero: 7.5,
  decode(raw, at, block) {
    const d = half(raw, at);
    const grid = iq3s();
    for (let g = 0; g < 8; g++)
      block.scales[g] = 2 * d * (1 + 2 * ((byte(raw, at + 106 + (g >> 1)) >> ((g & 1) * 4)) & 15));
    for (let v = 0; v < 64; v++) {
      const index = byte(raw, at + 2 + v) | (((byte(raw, at + 66 + (v >> 3)) >> (v & 7)) & 1) << 8);
      const signs = byte(raw, at + 74 + (v >> 1)) >> ((v & 1) * 4);
      for (let i = 0; i < 4; i++) {
        const value = grid[index * 4 + i] ?? 0;
        block.codes[block.start + v * 4 + i] = (15 + (((signs >> i) & 1) === 0 ? value : -value)) >> 1;
      }
    }
  },
};

/** Eight elements of an IQ1 type: 8 · entry ± 1, as (that + 9) / 2. */
function shiftedVector(index: number, minus: boolean, codes: Uint8Array, to: number): void {
  const grid = iq1();
  for (let i = 0; i < 8; i++) codes[to + i] = 4 * (grid[index * 8 + i] ?? 0) + (minus ? 4 : 5);
}

const iq1_s: BlockDecoder = {
  group: 32,
  bits: 4,
  zero: 4.5,
  decode(raw, at, block) {
    const d = half(raw, at);
    for (let g = 0; g < 8; g++) {
      const high = u16(raw, at + 34 + 2 * g);
      block.scales[g] = (d * (1 + 2 * ((high >> 12) & 7))) / 4;
      for (let v = 0; v < 4; v++) {
        const index = byte(raw, at + 2 + g * 4 + v) | (((high >> (3 * v)) & 7) << 8);
        shiftedVector(index, high >= 0x8000, block.codes, block.start + g * 32 + v * 8);
      }
    }
  },
};

const iq1_m: BlockDecoder = {
  group: 16,
  bits: 4,
  zero: 4.5,
  decode(raw, at, block) {
    let scaleBits = 0;
    for (let i = 0; i < 4; i++) scaleBits |= (u16(raw, at + 48 + 2 * i) >> 12) << (4 * i);
    const d = halves[scaleBits] ?? 0;
    for (let g = 0; g < 16; g++) {
      const scale = (u16(raw, at + 48 + 2 * (g >> 2)) >> (3 * (g & 3))) & 7;
      block.scales[g] = (d * (1 + 2 * scale)) / 4;
      const highs = byte(raw, at + 32 + g);
      for (let v = 0; v < 2; v++) {
        const high = highs >> (4 * v);
        const index = byte(raw, at + g * 2 + v) | ((high & 7) << 8);
        shiftedVector(index, (high & 8) !== 0, block.codes, block.start + g * 16 + v * 8);
      }
    }
  },
};

export const iqBlockDecoders: readonly (readonly [GgufTypeName, BlockDecoder])[] = [
  ['IQ1_S', iq1_s],
  ['IQ1_M', iq1_m],
  ['IQ2_XXS', iq2_xxs],
  ['IQ2_XS', iq2_xs],
  ['IQ2_S', iq2_s],
  ['IQ3_XXS', iq3_xxs],
  ['IQ3_S', iq3_s],
];

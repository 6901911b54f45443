import type { AdamwSettings } from '../adamw.ts';
import { MOMENT_BLOCK, momentCodes } from '../adamw8bit.ts';
import { adamwReference } from './adamw.ts';

/** State of an 8-bit AdamW: w [n], and for each moment codes [n] with a scale for every block of 256. */
export interface PackedState {
  readonly w: Float64Array;
  readonly m: Uint8Array;
  readonly v: Uint8Array;
  /** Pairs (largest |m|, largest √v). */
  readonly scales: Float64Array;
}

/** The hash of element and step that decides how a second moment is rounded, 0 … 1. */
export function randomShare(element: number, step: number): number {
  let x = (Math.imul(element, 747796405) + Math.imul(step, 2891336453) + 1) >>> 0;
  x = Math.imul((x >>> ((x >>> 28) + 4)) ^ x, 277803737) >>> 0;
  x = ((x >>> 22) ^ x) >>> 0;
  x ^= x >>> 16;
  x = Math.imul(x, 0x7feb352d) >>> 0;
  x ^= x >>> 15;
  return (x >>> 8) / 16777216;
}

/** What the codes stand for: m and v, not its root. */
export function unpackedMoments({ m, v, scales }: PackedState): { m: Float64Array; v: Float64Array } {
  const { first, second } = momentCodes();
  const scale = (i: number, which: number) => scales[2 * Math.floor(i / MOMENT_BLOCK) + which] ?? 0;
  return {
    m: Float64Array.from(m, (code, i) => (first[code] ?? 0) * scale(i, 0)),
    v: Float64Array.from(v, (code, i) => ((second[code] ?? 0) * scale(i, 1)) ** 2),
  };
}

/** One step in double precision, in place. */
export function adamw8bitReference(
  state: PackedState,
  g: ArrayLike<number>,
  settings: AdamwSettings,
  gradScale = 1,
): void {
  const { first, second } = momentCodes();
  const moments = unpackedMoments(state);
  adamwReference({ w: state.w, ...moments }, g, settings, gradScale);
  const roots = moments.v.map(Math.sqrt);
  for (let start = 0; start < state.w.length; start += MOMENT_BLOCK) {
    const end = Math.min(start + MOMENT_BLOCK, state.w.length);
    const most = [moments.m, roots].map((values) =>
      values.subarray(start, end).reduce((top, x) => Math.max(top, Math.abs(x)), 0),
    );
    const [mostM = 0, mostV = 0] = most;
    state.scales.set(most, 2 * (start / MOMENT_BLOCK));
    for (let i = start; i < end; i++) {
      state.m[i] = mostM > 0 ? nearest(first, (moments.m[i] ?? 0) / mostM) : 127;
      state.v[i] = mostV > 0 ? rounded(second, (roots[i] ?? 0) / mostV, randomShare(i, settings.step)) : 0;
    }
  }
}

function below(codes: Float32Array, x: number): number {
  const above = codes.findIndex((value) => value > x);
  return above < 0 ? codes.length - 1 : Math.max(0, above - 1);
}

function nearest(codes: Float32Array, x: number): number {
  const code = below(codes, x);
  const next = Math.min(code + 1, codes.length - 1);
  return (codes[next] ?? 0) - x < x - (codes[code] ?? 0) ? next : code;
}

function rounded(codes: Float32Array, x: number, share: number): number {
  const code = below(codes, x);
  const [low = 0, high = 0] = [codes[code], codes[code + 1]];
  if (code === codes.length - 1 || x < low) return code;
  return share * (high ** 2 - low ** 2) < x ** 2 - low ** 2 ? code + 1 : code;
}

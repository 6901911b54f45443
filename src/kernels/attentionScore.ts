import type { Grid } from '../device/kernel.ts';

/** What the attention kernels share: their parameters, and the WGSL of masks and score gradients. */
export interface AttentionShape {
  readonly batch: number;
  readonly tokens: number;
  readonly heads: number;
  /** Divides `heads`. */
  readonly kvHeads: number;
  /** d */
  readonly headWidth: number;
  readonly scale: number;
  /** A query sees itself and the window - 1 keys before it; 0 for all before it. */
  readonly window: number;
  /** Soft cap of the scores; 0 for none. */
  readonly cap: number;
}

export const ATTENTION_PARAMS = {
  /** Rows of q in a sequence, and of k and v: the same in training, the capacity with a cache. */
  tokens: 'u32',
  keyTokens: 'u32',
  heads: 'u32',
  kvHeads: 'u32',
  /** Array elements of a head: numbers or vec4. */
  width: 'u32',
  window: 'u32',
  scale: 'f32',
  cap: 'f32',
} as const;

export type AttentionParams = Record<keyof typeof ATTENTION_PARAMS, number>;

/** `lanes` is how many numbers an array element has. */
export function attentionParams(shape: AttentionShape, lanes: 1 | 4, capacity?: number): AttentionParams {
  const { tokens, heads, kvHeads, headWidth, window, scale, cap } = shape;
  const keyTokens = capacity ?? tokens;
  return { tokens, keyTokens, heads, kvHeads, width: headWidth / lanes, window, scale, cap };
}

/** `rows` of a workgroup; `parts` workgroups for the columns of a head. */
export function attentionGrid(
  { batch, tokens }: Pick<AttentionShape, 'batch' | 'tokens'>,
  heads: number,
  rows: number,
  parts = 1,
): Grid {
  return [Math.ceil(tokens / rows), heads, batch * parts];
}

/** Below every score, yet far from overflow when subtracted. */
export const LOWEST = '-1e30';

/** WGSL: the entry point's head; grids are [row tiles, heads, batch * parts]. */
export const ATTENTION_MAIN = `fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
)`;

/**
 * WGSL: `Rows` is a vector over the own rows of a thread. `line` is where a head begins in [B * tokens, heads * d];
 * rows past the end of a sequence become its last one, and their scores are masked. tanh goes through exp with a
 * clamped argument, since the built-in overflows on some drivers. `score` and `slope` are the score of a raw
 * product and its derivative.
 */
export function attentionCommon(rows: 2 | 4, capped: boolean): string {
  return `
alias Rows = vec${rows}<f32>;
alias Mask = vec${rows}<bool>;
fn line(sequence: u32, token: u32, tokens: u32, heads: u32, head: u32) -> u32 {
  return ((sequence * tokens + min(token, tokens - 1u)) * heads + head) * params.width;
}
fn sees(i: u32, j: u32) -> bool { return j <= i && (params.window == 0u || i - j < params.window); }${capped ? CAPPED : UNCAPPED}`;
}

/** Without a cap in the kernel's text, which compiles in two thirds of the time. */
const UNCAPPED = `
fn score(product: Rows) -> Rows { return product * params.scale; }
fn slope(scored: Rows) -> Rows { return Rows(params.scale); }`;

const CAPPED = `
fn capped(z: Rows) -> Rows { return 1.0 - 2.0 / (1.0 + exp(2.0 * clamp(z, Rows(-15.0), Rows(15.0)))); }
fn score(product: Rows) -> Rows { return params.cap * capped(product * params.scale / params.cap); }
fn slope(scored: Rows) -> Rows {
  let t = scored / params.cap;
  return params.scale * (1.0 - t * t);
}`;

/** WGSL: a vector over the own rows of a thread. */
export function rowVector(rows: number, of: (r: number) => string, type = 'Rows'): string {
  return `${type}(${Array.from({ length: rows }, (_, r) => of(r)).join(', ')})`;
}

/**
 * WGSL: from the raw products s = <q, k> and dp = <do, v> of column `n` to the probability (in s) and the gradient of
 * the raw product (in dp).
 */
export function scoreGradient(n: number, lse: string, delta: string, see: string): string {
  return `
s${n} = score(s${n});
dp${n} = (dp${n} - ${delta}) * slope(s${n});
s${n} = select(Rows(), exp(min(s${n} - ${lse}, Rows())), ${see});
dp${n} *= s${n};`;
}

/** The lines of `line(0)` to `line(count - 1)`: loops over registers are written out. */
export function unroll(count: number, line: (i: number) => string): string {
  return Array.from({ length: count }, (_, i) => line(i)).join('\n');
}

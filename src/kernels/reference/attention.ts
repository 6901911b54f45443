/**
 * Causal attention and its gradient in f64 over plain arrays, row by row with a full softmax: what the kernels of
 * `attention.ts` are compared with.
 */
export interface AttentionCase {
  readonly batch: number;
  readonly tokens: number;
  readonly heads: number;
  /** Heads of k and v; heads / kvHeads query heads share one. */
  readonly kvHeads: number;
  readonly headWidth: number;
  readonly scale: number;
  /** A query at i sees the keys i - window + 1 .. i; 0 for all before it. */
  readonly window: number;
  /** Scores become cap * tanh(score / cap); 0 for none. */
  readonly cap: number;
}

export interface AttentionInputs {
  /** [B * T, H * d] */
  readonly q: ArrayLike<number>;
  /** [B * T, Hkv * d] */
  readonly k: ArrayLike<number>;
  readonly v: ArrayLike<number>;
}

/** One row of the score matrix: first visible key, probabilities, derivative of the cap, log-sum-exp. */
interface Row {
  readonly first: number;
  readonly p: Float64Array;
  readonly slope: Float64Array;
  readonly lse: number;
}

/** o [B * T, H * d] and lse [B * T, H]. */
export function attentionReference(
  inputs: AttentionInputs,
  shape: AttentionCase,
): { o: Float64Array; lse: Float64Array } {
  const { batch, tokens, heads, headWidth: d } = shape;
  const o = new Float64Array(batch * tokens * heads * d);
  const lse = new Float64Array(batch * tokens * heads);
  eachRow(shape, (b, i, h) => {
    const at = (b * tokens + i) * heads + h;
    const row = attentionRowReference(inputs, shape, b, i, h);
    o.set(row.o, at * d);
    lse[at] = row.lse;
  });
  return { o, lse };
}

/** o [d] and lse of the query at position i of sequence b, head h. */
export function attentionRowReference(
  inputs: AttentionInputs,
  shape: AttentionCase,
  b: number,
  i: number,
  h: number,
): { o: Float64Array; lse: number } {
  const { first, p, lse } = scoreRow(inputs, shape, b, i, h);
  const o = new Float64Array(shape.headWidth);
  p.forEach((weight, n) => {
    const from = keyAt(shape, b, first + n, h);
    for (let c = 0; c < o.length; c++) add(o, c, weight * get(inputs.v, from + c));
  });
  return { o, lse };
}

export function attentionBackwardReference(
  inputs: AttentionInputs,
  grad: ArrayLike<number>,
  shape: AttentionCase,
): { dq: Float64Array; dk: Float64Array; dv: Float64Array } {
  const { tokens, heads, headWidth: d, scale } = shape;
  const dq = new Float64Array(inputs.q.length);
  const dk = new Float64Array(inputs.k.length);
  const dv = new Float64Array(inputs.v.length);
  eachRow(shape, (b, i, h) => {
    const { first, p, slope } = scoreRow(inputs, shape, b, i, h);
    const at = ((b * tokens + i) * heads + h) * d;
    const dp = p.map((_, n) => {
      const key = keyAt(shape, b, first + n, h);
      let sum = 0;
      for (let c = 0; c < d; c++) sum += get(grad, at + c) * get(inputs.v, key + c);
      return sum;
    });
    const delta = dp.reduce((sum, value, n) => sum + value * get(p, n), 0);
    p.forEach((weight, n) => {
      const key = keyAt(shape, b, first + n, h);
      const ds = weight * (get(dp, n) - delta) * get(slope, n) * scale;
      for (let c = 0; c < d; c++) {
        add(dq, at + c, ds * get(inputs.k, key + c));
        add(dk, key + c, ds * get(inputs.q, at + c));
        add(dv, key + c, weight * get(grad, at + c));
      }
    });
  });
  return { dq, dk, dv };
}

function scoreRow({ q, k }: AttentionInputs, shape: AttentionCase, b: number, i: number, h: number): Row {
  const { tokens, heads, headWidth: d, scale, window, cap } = shape;
  const first = window > 0 ? Math.max(0, i - window + 1) : 0;
  const at = ((b * tokens + i) * heads + h) * d;
  const slope = new Float64Array(i - first + 1).fill(1);
  const scores = slope.map((_, n) => {
    const key = keyAt(shape, b, first + n, h);
    let sum = 0;
    for (let c = 0; c < d; c++) sum += get(q, at + c) * get(k, key + c);
    if (cap === 0) return sum * scale;
    const t = Math.tanh((sum * scale) / cap);
    slope[n] = 1 - t * t;
    return cap * t;
  });
  const top = scores.reduce((a, s) => Math.max(a, s), Number.NEGATIVE_INFINITY);
  const total = scores.reduce((a, s) => a + Math.exp(s - top), 0);
  const lse = top + Math.log(total);
  return { first, slope, lse, p: scores.map((s) => Math.exp(s - lse)) };
}

function eachRow(shape: AttentionCase, visit: (b: number, i: number, h: number) => void): void {
  for (let b = 0; b < shape.batch; b++) {
    for (let i = 0; i < shape.tokens; i++) for (let h = 0; h < shape.heads; h++) visit(b, i, h);
  }
}

/** Where the key (or value) of position j begins for query head h. */
function keyAt(
  { tokens, heads, kvHeads, headWidth }: AttentionCase,
  b: number,
  j: number,
  h: number,
): number {
  const kvHead = Math.floor(h / (heads / kvHeads));
  return ((b * tokens + j) * kvHeads + kvHead) * headWidth;
}

function get(values: ArrayLike<number>, index: number): number {
  return values[index] ?? Number.NaN;
}

function add(values: Float64Array, index: number, value: number): void {
  values[index] = get(values, index) + value;
}

/**
 * The train step that every engine runs: a small Llama (own head, RMS norm, rotary embedding in halves, SwiGLU), one
 * fixed batch, AdamW on every parameter. Weights and tokens come from a counter-based hash, so that engines in any
 * language start from the same bits and their losses can be compared digit by digit.
 */
export interface TrainCase {
  readonly name: string;
  /** D */
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly feedForward: number;
  /** V */
  readonly vocab: number;
  /** T */
  readonly tokens: number;
  /** B */
  readonly batch: number;
}

export const SMALL: TrainCase = {
  name: 'small',
  width: 256,
  layers: 4,
  heads: 4,
  feedForward: 688,
  vocab: 2048,
  tokens: 256,
  batch: 4,
};

/** About 40 times the work of `SMALL`: for real GPUs. */
export const LARGE: TrainCase = {
  name: 'large',
  width: 576,
  layers: 12,
  heads: 9,
  feedForward: 1536,
  vocab: 8192,
  tokens: 512,
  batch: 8,
};

/**
 * The losses before the first four updates of `SMALL`, nats: PyTorch in double precision from the same weights. Any
 * engine must come within 1e-4 of each.
 */
export const SMALL_LOSSES = [7.677973, 7.395298, 7.098673, 6.850405] as const;

export const NORM_EPS = 1e-5;
export const ROPE_BASE = 10_000;
/** Decoupled decay on every parameter, norms too. */
export const ADAMW = { learningRate: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, decay: 0.01 };
const INIT_DEVIATION = 0.02;

export interface Parameter {
  readonly name: string;
  /** Matrices are `[out, in]`, as Hugging Face stores them. */
  readonly shape: readonly [number] | readonly [number, number];
}

/** Names and shapes in the order of their seeds. */
export function parametersOf({ width, layers, feedForward, vocab }: TrainCase): readonly Parameter[] {
  const layer = (index: number): Parameter[] => {
    const name = (part: string) => `model.layers.${index}.${part}.weight`;
    return [
      { name: name('input_layernorm'), shape: [width] },
      { name: name('self_attn.q_proj'), shape: [width, width] },
      { name: name('self_attn.k_proj'), shape: [width, width] },
      { name: name('self_attn.v_proj'), shape: [width, width] },
      { name: name('self_attn.o_proj'), shape: [width, width] },
      { name: name('post_attention_layernorm'), shape: [width] },
      { name: name('mlp.gate_proj'), shape: [feedForward, width] },
      { name: name('mlp.up_proj'), shape: [feedForward, width] },
      { name: name('mlp.down_proj'), shape: [width, feedForward] },
    ];
  };
  return [
    { name: 'model.embed_tokens.weight', shape: [vocab, width] },
    ...Array.from({ length: layers }, (_, index) => layer(index)).flat(),
    { name: 'model.norm.weight', shape: [width] },
    { name: 'lm_head.weight', shape: [vocab, width] },
  ];
}

/** 32 well-mixed bits of a stream and a counter (the finisher of MurmurHash3). */
function bits(stream: number, index: number): number {
  let x = (Math.imul((stream << 24) + index, 0x9e3779b1) + 0x7f4a7c15) >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

/** Norms are 1; matrices are uniform with a deviation of 0.02, computed in double and rounded once. */
export function initialValues(parameter: Parameter, stream: number): Float32Array<ArrayBuffer> {
  const count = parameter.shape.reduce((product, size) => product * size, 1);
  if (parameter.shape.length === 1) return new Float32Array(count).fill(1);
  const scale = INIT_DEVIATION * Math.sqrt(3);
  return Float32Array.from({ length: count }, (_, index) => (bits(stream, index) / 2147483648 - 1) * scale);
}

const TOKEN_STREAM = 255;

/** `[B, T]` inputs, and the token after each of them as the target: every position is supervised. */
export function batchOf({ batch, tokens, vocab }: TrainCase): {
  inputs: Int32Array<ArrayBuffer>;
  targets: Int32Array<ArrayBuffer>;
} {
  const token = (row: number, column: number) => bits(TOKEN_STREAM, row * (tokens + 1) + column) % vocab;
  const fill = (shift: number) =>
    Int32Array.from({ length: batch * tokens }, (_, index) =>
      token(Math.floor(index / tokens), (index % tokens) + shift),
    );
  return { inputs: fill(0), targets: fill(1) };
}

/** cos and sin of the rotary angles, `[T, headWidth / 2]` each. */
export function rotaryTables({ tokens, width, heads }: TrainCase): {
  cos: Float32Array<ArrayBuffer>;
  sin: Float32Array<ArrayBuffer>;
} {
  const half = width / heads / 2;
  const angles = Array.from(
    { length: tokens * half },
    (_, index) => Math.floor(index / half) * ROPE_BASE ** (-(index % half) / half),
  );
  return { cos: Float32Array.from(angles, Math.cos), sin: Float32Array.from(angles, Math.sin) };
}

function matrixWeights({ width, layers, feedForward, vocab }: TrainCase): number {
  return layers * (4 * width * width + 3 * width * feedForward) + vocab * width;
}

/** Floating-point operations of the matrix products of one step: forward once, backward twice. */
export function matrixFlops(trainCase: TrainCase): number {
  return 6 * trainCase.batch * trainCase.tokens * matrixWeights(trainCase);
}

/** Floating-point operations of one step with full attention: forward once, backward twice. */
export function stepFlops(trainCase: TrainCase): number {
  const { width, layers, tokens, batch } = trainCase;
  return matrixFlops(trainCase) + 3 * batch * tokens * layers * 2 * 2 * tokens * width;
}

import type { DecoderConfig } from '../src/models/config.ts';
import { parseConfig } from '../src/models/config.ts';
import { decoderTensors } from '../src/models/weights.ts';

/**
 * Generation that every engine runs: the shapes of SmolLM2-135M with weights from a hash, in 4 bits (blocks of 32, an f32
 * scale each, zero point 8: what ONNX calls MatMulNBits), one prompt, greedy.
 */
export interface DecodeCase {
  readonly name: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** Tokens of the prompt, and how many are generated after it. */
  readonly prompt: number;
  readonly answer: number;
}

const SMOLLM2_135M = {
  model_type: 'llama',
  vocab_size: 49152,
  hidden_size: 576,
  intermediate_size: 1536,
  num_hidden_layers: 30,
  num_attention_heads: 9,
  num_key_value_heads: 3,
  rms_norm_eps: 1e-5,
  rope_theta: 100_000,
  tie_word_embeddings: true,
  max_position_embeddings: 8192,
} as const;

/** Ends at a context of 512. */
export const DECODE: DecodeCase = {
  name: 'SmolLM2-135M shapes, 4 bits',
  config: SMOLLM2_135M,
  prompt: 472,
  answer: 40,
};

/** Tokens after the prompt that are compared between engines. */
export const BEST = 4;

/** A step of LoRA of rank 16 on all matrices of such a model. */
export interface LoraCase {
  readonly model: DecodeCase;
  readonly rank: number;
  readonly batch: number;
  readonly tokens: number;
}

export const LORA: LoraCase = { model: DECODE, rank: 16, batch: 8, tokens: 512 };
/** What a software adapter does in the time. */
export const SMALL_LORA: LoraCase = { ...LORA, batch: 1, tokens: 128 };

export function decodeConfig({ config, name }: DecodeCase): DecoderConfig {
  return parseConfig(config, name);
}

export const DECODE_BLOCK = 32;

export interface PackedTensor {
  readonly rows: number;
  readonly cols: number;
  /** `[rows, cols / 2]`, the low nibble first. */
  readonly nibbles: Uint8Array<ArrayBuffer>;
  /** `[rows, cols / 32]` */
  readonly scales: Float32Array<ArrayBuffer>;
}

/** Deviation of the weights: large enough that rows of logits differ, small enough that 30 layers stay tame. */
const DEVIATION = 0.04;
/** Deviation of a code 0 to 15 around the zero point. */
const CODE_DEVIATION = Math.sqrt(255 / 12);

/** The weights of one matrix, the same on every machine: a xorshift generator whose state starts at the tensor's place. */
export function decodeMatrix(decodeCase: DecodeCase, name: string): PackedTensor {
  const specs = decoderTensors(decodeConfig(decodeCase));
  const index = specs.findIndex((spec) => spec.name === name);
  const [rows = 1, cols = 1] = specs[index]?.shape ?? [];
  const next = xorshift(index + 1);
  const words = new Uint32Array((rows * cols) / 8);
  for (let word = 0; word < words.length; word++) words[word] = next();
  const scale = DEVIATION / CODE_DEVIATION;
  const scales = Float32Array.from(
    { length: (rows * cols) / DECODE_BLOCK },
    () => scale * (0.75 + next() / 2 ** 33),
  );
  return { rows, cols, nibbles: new Uint8Array(words.buffer), scales };
}

export function decodeTokens({ config }: DecodeCase, count: number): number[] {
  const next = xorshift(99);
  return Array.from({ length: count }, () => next() % Number(config.vocab_size));
}

function xorshift(seed: number): () => number {
  let state = Math.imul(seed, 0x9e3779b1) >>> 0;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state;
  };
}

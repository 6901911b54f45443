/** Tiny models, data and recipes that tests of the command line write for themselves. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { randomStream } from '../util/random.ts';
import type { Terminal } from './terminal.ts';

const WIDTH = 32;
const FFN = 48;
const HEADS = 4;
const KV_HEADS = 2;
const HEAD_WIDTH = 8;
const LAYERS = 2;
const SPECIALS = ['<|endoftext|>', '<|im_start|>', '<|im_end|>'];
const TEMPLATE =
  "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

export interface TinyModel {
  readonly family: 'llama' | 'qwen2';
  /** Pairs that the tokenizer joins, such as "t h". */
  readonly merges: readonly string[];
  readonly seed: number;
}

/** Writes a random model of two layers as a Hugging Face folder. */
export function writeModel(folder: string, { family, merges, seed }: TinyModel): void {
  mkdirSync(folder, { recursive: true });
  const tokens = [...byteCharacters(), ...merges.map((pair) => pair.replace(' ', '')), ...SPECIALS];
  const vocab = tokens.length;
  const write = (name: string, value: unknown) =>
    writeFileSync(join(folder, name), JSON.stringify(value, null, 1));
  write('config.json', {
    architectures: [family === 'llama' ? 'LlamaForCausalLM' : 'Qwen2ForCausalLM'],
    model_type: family,
    hidden_size: WIDTH,
    intermediate_size: FFN,
    num_hidden_layers: LAYERS,
    num_attention_heads: HEADS,
    num_key_value_heads: KV_HEADS,
    head_dim: HEAD_WIDTH,
    max_position_embeddings: 256,
    rms_norm_eps: 1e-5,
    rope_theta: 10_000,
    tie_word_embeddings: true,
    vocab_size: vocab,
    hidden_act: 'silu',
    eos_token_id: tokens.indexOf('<|im_end|>'),
  });
  write('tokenizer.json', tokenizer(tokens, merges));
  write('tokenizer_config.json', { eos_token: '<|im_end|>', chat_template: TEMPLATE });
  writeFileSync(join(folder, 'model.safetensors'), safetensors(family, vocab, seed));
}

/** Every byte as byte-level tokenizers write it. */
function byteCharacters(): string[] {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const plain = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
    return String.fromCodePoint(plain ? byte : next++);
  });
}

function tokenizer(tokens: readonly string[], merges: readonly string[]): unknown {
  const ordinary = tokens.slice(0, tokens.length - SPECIALS.length);
  return {
    version: '1.0',
    added_tokens: SPECIALS.map((content, index) => ({
      id: ordinary.length + index,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      vocab: Object.fromEntries(ordinary.map((token, id) => [token, id])),
      merges,
    },
  };
}

function safetensors(family: TinyModel['family'], vocab: number, seed: number): Uint8Array {
  const q = HEADS * HEAD_WIDTH;
  const kv = KV_HEADS * HEAD_WIDTH;
  const shapes = new Map<string, readonly number[]>([['model.embed_tokens.weight', [vocab, WIDTH]]]);
  for (let layer = 0; layer < LAYERS; layer++) {
    const at = (name: string) => `model.layers.${layer}.${name}`;
    shapes.set(at('input_layernorm.weight'), [WIDTH]).set(at('post_attention_layernorm.weight'), [WIDTH]);
    for (const [name, rows] of Object.entries({ q, k: kv, v: kv })) {
      shapes.set(at(`self_attn.${name}_proj.weight`), [rows, WIDTH]);
      if (family === 'qwen2') shapes.set(at(`self_attn.${name}_proj.bias`), [rows]);
    }
    shapes.set(at('self_attn.o_proj.weight'), [WIDTH, q]);
    shapes.set(at('mlp.gate_proj.weight'), [FFN, WIDTH]).set(at('mlp.up_proj.weight'), [FFN, WIDTH]);
    shapes.set(at('mlp.down_proj.weight'), [WIDTH, FFN]);
  }
  shapes.set('model.norm.weight', [WIDTH]);
  const header: Record<string, unknown> = {};
  const values: number[] = [];
  for (const [name, shape] of shapes) {
    const count = shape.reduce((product, size) => product * size, 1);
    const random = randomStream(seed, name);
    const start = values.length;
    for (let i = 0; i < count; i++)
      values.push((name.endsWith('norm.weight') ? 1 : 0) + 0.3 * random.normal(i));
    header[name] = { dtype: 'F32', shape, data_offsets: [4 * start, 4 * values.length] };
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const head = new Uint8Array(8 + Math.ceil(json.length / 8) * 8).fill(0x20, 8);
  new DataView(head.buffer).setBigUint64(0, BigInt(head.length - 8), true);
  head.set(json, 8);
  return Buffer.concat([head, new Uint8Array(Float32Array.from(values).buffer)]);
}

/** Writes conversations that a tiny model can learn a little from. */
export function writeConversations(path: string, count: number, first = 0): void {
  const lines = Array.from({ length: count }, (_, index) => {
    const number = first + index;
    return JSON.stringify({
      id: `c${number}`,
      messages: [
        { role: 'user', content: `What is the color of thing ${number}?` },
        { role: 'assistant', content: `The thing ${number} is ${number % 2 === 0 ? 'red' : 'green'}.` },
      ],
      accept: [number % 2 === 0 ? 'red' : 'green'],
    });
  });
  writeFileSync(path, `${lines.join('\n')}\n`);
}

export interface FakeTerminal extends Terminal {
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** Presses Ctrl-C. */
  readonly interrupt: () => void;
}

/** Collects what is written. Downloads go into the folder, not into the person's own cache; the device is that of the tests. */
export function fakeTerminal(folder: string, environment: NodeJS.ProcessEnv = {}): FakeTerminal {
  let stdout = '';
  let stderr = '';
  const handlers: (() => void)[] = [];
  return {
    out: (text) => {
      stdout += text;
    },
    err: (text) => {
      stderr += text;
    },
    screen: false,
    columns: 80,
    input: process.stdin,
    folder,
    environment: {
      ALLOY_CACHE: join(folder, '.cache'),
      ALLOY_DEVICE: process.env.ALLOY_TEST_DEVICE === 'wasm' ? 'wasm' : 'webgpu',
      ...environment,
    },
    onInterrupt(handler) {
      handlers.push(handler);
      return () => void handlers.splice(handlers.indexOf(handler), 1);
    },
    stdout: () => stdout,
    stderr: () => stderr,
    interrupt: () => handlers.at(-1)?.(),
  };
}

/** A variable as a recipe writes it. */
export const variable = (name: string) => `$\{${name}}`;

import { ropeTable } from '../src/kernels/ropeFrequencies.ts';
import {
  DECODE_BLOCK,
  type DecodeCase,
  decodeConfig,
  decodeMatrix,
  type PackedTensor,
} from './decodeCase.ts';
import { type Bytes, model, node, type OnnxNode, tensor, value } from './onnx.ts';
import { nBits } from './onnxModel.ts';

/** How a decoder's matrices lie in the file. */
export type OrtWeights = 'q4' | 'int8' | 'f32';

/**
 * The decoder as exporters for onnxruntime write it: MatMulNBits, SkipSimplifiedLayerNormalization and
 * GroupQueryAttention with rotary embedding and a cache, from embedded tokens to the logits of all positions.
 *
 * Inputs: embeds [1, T, D], seqlens_k [1], total [] and past.N.key / past.N.value [1, Hkv, P, d]; outputs: logits and
 * present.N.key / present.N.value.
 *
 * @param weights `q4`; `int8`: the same with x rounded to 8 bits, as the runtime does fastest; `f32`: unpacked
 */
export function decoderModel(decodeCase: DecodeCase, weights: OrtWeights = 'q4'): Bytes {
  const config = decodeConfig(decodeCase);
  const { width, ffn, heads, kvHeads, headDim, vocabSize } = config;
  const epsilon = Number(decodeCase.config.rms_norm_eps);
  const nodes: OnnxNode[] = [];
  const tensors: Bytes[] = [];
  const cache = ['key', 'value'] as const;
  const layers = config.layers.map((_, layer) => layer);

  const product = (x: string, path: string, n: number, k: number) => {
    const packed = decodeMatrix(decodeCase, `${path}.weight`);
    if (weights === 'f32') {
      tensors.push(tensor(`${path}.w`, 'f32', [k, n], unpackedColumns(packed)));
      nodes.push({ type: 'MatMul', inputs: [x, `${path}.w`], outputs: [`${path}.y`] });
      return `${path}.y`;
    }
    const { nibbles, scales } = packed;
    tensors.push(tensor(`${path}.w`, 'u8', [n, k / DECODE_BLOCK, DECODE_BLOCK / 2], nibbles));
    tensors.push(tensor(`${path}.s`, 'f32', [scales.length], scales));
    nodes.push(nBits([x, `${path}.w`, `${path}.s`], `${path}.y`, n, k, weights === 'int8' ? 4 : undefined));
    return `${path}.y`;
  };
  const ones = (name: string) => {
    tensors.push(tensor(name, 'f32', [width], new Float32Array(width).fill(1)));
    return name;
  };
  const add = (type: string, inputs: readonly string[], output: string, more: Partial<OnnxNode> = {}) => {
    nodes.push({ type, inputs, outputs: [output], ...more });
    return output;
  };
  /** The norm of `hidden + added`; the sum is the next residual. */
  const skipNorm = (hidden: string, added: string, name: string) => {
    nodes.push({
      type: 'SkipSimplifiedLayerNormalization',
      inputs: [hidden, added, ones(name)],
      outputs: [`${name}.y`, '', '', `${name}.sum`],
      domain: 'com.microsoft',
      floats: { epsilon },
    });
    return { normed: `${name}.y`, hidden: `${name}.sum` };
  };

  const table = ropeTable({ theta: Number(decodeCase.config.rope_theta), rot: headDim, positions: 1024 });
  const turn = (index: 0 | 1) => table.filter((_, at) => at % 2 === index);
  tensors.push(tensor('cos', 'f32', [1024, headDim / 2], turn(0)));
  tensors.push(tensor('sin', 'f32', [1024, headDim / 2], turn(1)));

  let hidden = 'embeds';
  let normed = add('SimplifiedLayerNormalization', ['embeds', ones('norm.0')], 'norm.0.y', {
    floats: { epsilon },
    integers: { axis: 2 },
  });
  for (const layer of layers) {
    const path = (name: string) => `model.layers.${layer}.${name}`;
    const q = product(normed, path('self_attn.q_proj'), heads * headDim, width);
    const k = product(normed, path('self_attn.k_proj'), kvHeads * headDim, width);
    const v = product(normed, path('self_attn.v_proj'), kvHeads * headDim, width);
    const past = cache.map((name) => `past.${layer}.${name}`);
    nodes.push({
      type: 'GroupQueryAttention',
      inputs: [q, k, v, ...past, 'seqlens_k', 'total', 'cos', 'sin'],
      outputs: [path('attended'), ...cache.map((name) => `present.${layer}.${name}`)],
      domain: 'com.microsoft',
      integers: { num_heads: heads, kv_num_heads: kvHeads, do_rotary: 1, rotary_interleaved: 0 },
      floats: { scale: headDim ** -0.5 },
    });
    const o = product(path('attended'), path('self_attn.o_proj'), width, heads * headDim);
    ({ normed, hidden } = skipNorm(hidden, o, path('mlp.norm')));
    const gate = product(normed, path('mlp.gate_proj'), ffn, width);
    const up = product(normed, path('mlp.up_proj'), ffn, width);
    const open = add('Sigmoid', [gate], path('open'));
    const inner = add('Mul', [add('Mul', [gate, open], path('act')), up], path('inner'));
    const down = product(inner, path('mlp.down_proj'), width, ffn);
    ({ normed, hidden } = skipNorm(hidden, down, path('next.norm')));
  }
  const head = product(normed, 'model.embed_tokens', vocabSize, width);
  nodes.push({ type: 'Identity', inputs: [head], outputs: ['logits'] });

  const kv = (kind: string, length: string) =>
    layers.flatMap((layer) =>
      cache.map((name) => value(`${kind}.${layer}.${name}`, 'f32', [1, kvHeads, length, headDim])),
    );
  return model({
    nodes: nodes.map(node),
    weights: tensors,
    inputs: [
      value('embeds', 'f32', [1, 'T', width]),
      value('seqlens_k', 'i32', [1]),
      value('total', 'i32', []),
      ...kv('past', 'P'),
    ],
    outputs: [value('logits', 'f32', [1, 'T', vocabSize]), ...kv('present', 'P+T')],
  });
}

/** `[cols, rows]`, as MatMul takes the weights of a linear layer. */
function unpackedColumns({ rows, cols, nibbles, scales }: PackedTensor): Float32Array<ArrayBuffer> {
  const values = new Float32Array(rows * cols);
  for (let row = 0; row < rows; row++) {
    for (let col = 0; col < cols; col++) {
      const at = row * cols + col;
      const byte = nibbles[at >> 1] ?? 0;
      const code = at % 2 === 0 ? byte & 15 : byte >> 4;
      values[col * rows + row] = (code - 8) * (scales[Math.floor(at / DECODE_BLOCK)] ?? 0);
    }
  }
  return values;
}

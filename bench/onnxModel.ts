import type { MatmulCase } from './engine.ts';
import { BLOCK, matmulWeights, packedWeights } from './matmulCase.ts';
import { type Bytes, model, node, type OnnxNode, tensor, value } from './onnx.ts';

/** The product as exporters write a linear layer: MatMul with `[K, N]` weights, or MatMulNBits with blocks of 32. */
export function matmulModel(matmulCase: MatmulCase): Bytes {
  const { rows, outputs, inputs, weights } = matmulCase;
  const file = (product: OnnxNode, tensors: readonly Bytes[]) =>
    model({
      nodes: [node(product)],
      weights: tensors,
      inputs: [value('x', 'f32', [rows, inputs])],
      outputs: [value('y', 'f32', [rows, outputs])],
    });
  if (weights === 'f32') {
    const w = tensor('w', 'f32', [inputs, outputs], transposed(matmulWeights(matmulCase), matmulCase));
    return file({ type: 'MatMul', inputs: ['x', 'w'], outputs: ['y'] }, [w]);
  }
  const { nibbles, scales } = packedWeights(matmulCase);
  const w = tensor('w', 'u8', [outputs, inputs / BLOCK, BLOCK / 2], nibbles);
  const s = tensor('s', 'f32', [outputs * (inputs / BLOCK)], scales);
  return file(nBits(['x', 'w', 's'], 'y', outputs, inputs), [w, s]);
}

/**
 * `y = x Wᵀ` with 4-bit weights in blocks of 32 and the zero point 8; `inputs` are x, nibbles and scales.
 * @param accuracy what the runtime may round x to: 1 f32, 4 int8
 */
export function nBits(
  inputs: readonly string[],
  output: string,
  n: number,
  k: number,
  accuracy?: number,
): OnnxNode {
  return {
    type: 'MatMulNBits',
    inputs,
    outputs: [output],
    domain: 'com.microsoft',
    integers: {
      K: k,
      N: n,
      bits: 4,
      block_size: BLOCK,
      ...(accuracy !== undefined && { accuracy_level: accuracy }),
    },
  };
}

function transposed(weights: Float32Array, { outputs, inputs }: MatmulCase): Float32Array<ArrayBuffer> {
  return Float32Array.from(
    { length: outputs * inputs },
    (_, index) => weights[(index % outputs) * inputs + Math.floor(index / outputs)] ?? 0,
  );
}

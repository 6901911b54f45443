/**
 * jax-js as its README shows it: the whole step, forward, gradient and AdamW, is one jitted function. Arrays are counted
 * by reference: `.ref` where a value is used again.
 */
import './iteratorHelpers.ts';
import { blockUntilReady, defaultDevice, init, jit, nn, numpy as np, tree, valueAndGrad } from '@jax-js/jax';
import type { BenchEngine, MatmulCase, MatmulRunner, Stepper } from '../engine.ts';
import { matmulInput, matmulWeights } from '../matmulCase.ts';
import {
  ADAMW,
  batchOf,
  initialValues,
  NORM_EPS,
  parametersOf,
  rotaryTables,
  type TrainCase,
} from '../trainCase.ts';

type Layer = Record<'norm1' | 'q' | 'k' | 'v' | 'o' | 'norm2' | 'gate' | 'up' | 'down', np.Array>;
type Params = { embedding: np.Array; layers: Layer[]; norm: np.Array; head: np.Array };

function initialParams(trainCase: TrainCase): Params {
  const arrays = parametersOf(trainCase).map((parameter, stream) =>
    np.array(initialValues(parameter, stream)).reshape([...parameter.shape]),
  );
  const next = () => {
    const array = arrays.shift();
    if (!array) throw new Error('fewer parameters than the model has');
    return array;
  };
  const embedding = next();
  const layers = Array.from({ length: trainCase.layers }, () => {
    const [norm1, q, k, v, o] = [next(), next(), next(), next(), next()];
    const [norm2, gate, up, down] = [next(), next(), next(), next()];
    return { norm1, q, k, v, o, norm2, gate, up, down };
  });
  return { embedding, layers, norm: next(), head: next() };
}

const linear = (x: np.Array, weight: np.Array) => np.matmul(x, weight.transpose());

function rmsNorm(x: np.Array, weight: np.Array): np.Array {
  const meanSquare = np.square(x.ref).mean(-1, { keepdims: true });
  return x.div(np.sqrt(meanSquare.add(NORM_EPS))).mul(weight);
}

/** `x` is `[B, T, H, C]`, the tables `[T, 1, C / 2]`. */
function rotate(x: np.Array, cos: np.Array, sin: np.Array): np.Array {
  const [low, high] = np.split(x, 2, -1) as [np.Array, np.Array];
  const first = low.ref.mul(cos.ref).sub(high.ref.mul(sin.ref));
  const second = high.mul(cos).add(low.mul(sin));
  return np.concatenate([first, second], -1);
}

function attention(x: np.Array, layer: Layer, trainCase: TrainCase, cos: np.Array, sin: np.Array): np.Array {
  const { batch, tokens, width, heads } = trainCase;
  const split = (y: np.Array) => y.reshape([batch, tokens, heads, width / heads]);
  const query = rotate(split(linear(x.ref, layer.q)), cos.ref, sin.ref);
  const key = rotate(split(linear(x.ref, layer.k)), cos, sin);
  const value = split(linear(x, layer.v));
  const mixed = nn.dotProductAttention(query, key, value, { isCausal: true });
  return linear(mixed.reshape([batch * tokens, width]), layer.o);
}

function feedForward(x: np.Array, layer: Layer): np.Array {
  const gate = nn.silu(linear(x.ref, layer.gate));
  return linear(gate.mul(linear(x, layer.up)), layer.down);
}

/**
 * The mean of −log p(target), over logits `[BT, V]`. By a one-hot product, which fuses; the gradient of `takeAlongAxis`
 * cannot be jitted in this version.
 */
function crossEntropy(logits: np.Array, targets: np.Array, vocab: number): np.Array {
  return nn.oneHot(targets, vocab).mul(nn.logSoftmax(logits, -1)).sum(-1).mean().neg();
}

function lossOf(trainCase: TrainCase) {
  return (params: Params, inputs: np.Array, targets: np.Array, cos: np.Array, sin: np.Array): np.Array => {
    // Flat rows `[BT, D]`: the embedding's gradient is jitted only when no reshape follows the lookup.
    let x = np.take(params.embedding, inputs, 0);
    for (const layer of params.layers) {
      const mixed = attention(rmsNorm(x.ref, layer.norm1), layer, trainCase, cos.ref, sin.ref);
      x = x.add(mixed);
      x = x.ref.add(feedForward(rmsNorm(x, layer.norm2), layer));
    }
    cos.dispose();
    sin.dispose();
    return crossEntropy(linear(rmsNorm(x, params.norm), params.head), targets, trainCase.vocab);
  };
}

/** `corrections` is `[1 / (1 − β₁ⁿ), 1 / (1 − β₂ⁿ)]`. */
function adamw(p: np.Array, g: np.Array, m: np.Array, v: np.Array, corrections: np.Array) {
  const { learningRate, beta1, beta2, eps, decay } = ADAMW;
  const [first, second] = np.split(corrections, 2, 0) as [np.Array, np.Array];
  const nextM = m.mul(beta1).add(g.ref.mul(1 - beta1));
  const nextV = v.mul(beta2).add(np.square(g).mul(1 - beta2));
  const update = nextM.ref.mul(first).div(np.sqrt(nextV.ref.mul(second)).add(eps));
  return { p: p.mul(1 - learningRate * decay).sub(update.mul(learningRate)), m: nextM, v: nextV };
}

async function openStep(trainCase: TrainCase): Promise<Stepper> {
  const loss = valueAndGrad(lossOf(trainCase));
  const trainStep = jit(
    (
      p: Params,
      m: Params,
      v: Params,
      inputs: np.Array,
      targets: np.Array,
      cos: np.Array,
      sin: np.Array,
      c: np.Array,
    ) => {
      const [value, gradients] = loss(tree.ref(p), inputs, targets, cos, sin);
      const [leaves, structure] = tree.flatten(p);
      const [g, ms, vs] = [tree.leaves(gradients), tree.leaves(m), tree.leaves(v)] as np.Array[][];
      const next = leaves.map((leaf, index) =>
        adamw(leaf, g?.[index] as np.Array, ms?.[index] as np.Array, vs?.[index] as np.Array, c.ref),
      );
      c.dispose();
      const pick = (key: 'p' | 'm' | 'v') =>
        tree.unflatten(
          structure,
          next.map((one) => one[key]),
        ) as Params;
      return [value, pick('p'), pick('m'), pick('v')] as [np.Array, Params, Params, Params];
    },
  );
  let params = initialParams(trainCase);
  const zeros = () => tree.map((array: np.Array) => np.zeros(array.shape), tree.ref(params)) as Params;
  let [m, v] = [zeros(), zeros()];
  const { tokens, width, heads } = trainCase;
  const half = width / heads / 2;
  const tables = rotaryTables(trainCase);
  const cos = np.array(tables.cos).reshape([tokens, 1, half]);
  const sin = np.array(tables.sin).reshape([tokens, 1, half]);
  const data = batchOf(trainCase);
  const inputs = np.array(data.inputs, { dtype: np.int32 });
  const targets = np.array(data.targets, { dtype: np.int32 });
  let count = 0;
  return {
    async step() {
      count++;
      const corrections = np.array([1 / (1 - ADAMW.beta1 ** count), 1 / (1 - ADAMW.beta2 ** count)]);
      const results = trainStep(params, m, v, inputs.ref, targets.ref, cos.ref, sin.ref, corrections);
      let value: np.Array;
      [value, params, m, v] = results as [np.Array, Params, Params, Params];
      await blockUntilReady(tree.leaves(tree.ref(params)));
      return Number((await value.data())[0]);
    },
  };
}

async function openMatmul(matmulCase: MatmulCase): Promise<MatmulRunner> {
  const { rows, outputs, inputs } = matmulCase;
  const x = np.array(matmulInput(matmulCase)).reshape([rows, inputs]);
  const w = np.array(matmulWeights(matmulCase)).reshape([outputs, inputs]);
  const product = jit((a: np.Array, b: np.Array) => linear(a, b));
  return {
    async run(count) {
      const results = Array.from({ length: count }, () => product(x.ref, w.ref));
      await blockUntilReady(results);
      for (const result of results) result.dispose();
    },
    async firstRow() {
      return Float32Array.from((await product(x.ref, w.ref).data()).slice(0, outputs));
    },
  };
}

export async function openJaxJs(device: 'webgpu' | 'wasm' = 'webgpu'): Promise<BenchEngine> {
  await init(device);
  defaultDevice(device);
  return { name: 'jax-js', version: '0.1.25', openStep, openMatmul };
}

/**
 * TensorFlow.js on its WebGPU backend, in the operations that its guides use: eager, with gradients from its tape. Its own
 * Adam has no decoupled decay, so AdamW is written in the same operations.
 */
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-core/dist/register_all_gradients';
import '@tensorflow/tfjs-backend-webgpu';
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

interface Constants {
  readonly inputs: tf.Tensor1D;
  /** `[BT, V]` */
  readonly labels: tf.Tensor2D;
  /** `[T, 1, C / 2]` */
  readonly cos: tf.Tensor;
  readonly sin: tf.Tensor;
  /** `[T, T]`: 0 where the key may be seen, very negative elsewhere. */
  readonly mask: tf.Tensor2D;
}

function makeConstants(trainCase: TrainCase): Constants {
  const { tokens, width, heads, vocab } = trainCase;
  const { inputs, targets } = batchOf(trainCase);
  const tables = rotaryTables(trainCase);
  const tableShape: [number, number, number] = [tokens, 1, width / heads / 2];
  const mask = Float32Array.from({ length: tokens * tokens }, (_, index) =>
    index % tokens > Math.floor(index / tokens) ? -1e9 : 0,
  );
  return {
    inputs: tf.tensor1d(inputs, 'int32'),
    labels: tf.oneHot(tf.tensor1d(targets, 'int32'), vocab, 1, 0, 'float32') as tf.Tensor2D,
    cos: tf.tensor(tables.cos, tableShape),
    sin: tf.tensor(tables.sin, tableShape),
    mask: tf.tensor2d(mask, [tokens, tokens]),
  };
}

const linear = (x: tf.Tensor, weight: tf.Tensor) => tf.matMul(x, weight, false, true);

function rmsNorm(x: tf.Tensor, weight: tf.Tensor): tf.Tensor {
  const scale = tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), NORM_EPS));
  return tf.mul(tf.mul(x, scale), weight);
}

/** `x` is `[B, T, H, C]`. */
function rotate(x: tf.Tensor, { cos, sin }: Constants): tf.Tensor {
  const [low, high] = tf.split(x, 2, -1) as [tf.Tensor, tf.Tensor];
  const first = tf.sub(tf.mul(low, cos), tf.mul(high, sin));
  const second = tf.add(tf.mul(high, cos), tf.mul(low, sin));
  return tf.concat([first, second], -1);
}

function attention(
  x: tf.Tensor,
  [q, k, v, o]: readonly [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor],
  { batch, tokens, width, heads }: TrainCase,
  constants: Constants,
): tf.Tensor {
  const headWidth = width / heads;
  const split = (weight: tf.Tensor) => tf.reshape(linear(x, weight), [batch, tokens, heads, headWidth]);
  const byHead = (y: tf.Tensor) => tf.transpose(y, [0, 2, 1, 3]);
  const query = byHead(rotate(split(q), constants));
  const key = byHead(rotate(split(k), constants));
  const value = byHead(split(v));
  const products = tf.mul(tf.matMul(query, key, false, true), 1 / Math.sqrt(headWidth));
  const mixed = byHead(tf.matMul(tf.softmax(tf.add(products, constants.mask)), value));
  return linear(tf.reshape(mixed, [batch * tokens, width]), o);
}

/** The mean cross-entropy in nats; `weights` in the order of `parametersOf`. */
function lossOf(weights: readonly tf.Tensor[], trainCase: TrainCase, constants: Constants): tf.Scalar {
  let at = 0;
  const next = () => weights[at++] as tf.Tensor;
  let x: tf.Tensor = tf.gather(next() as tf.Tensor2D, constants.inputs);
  for (let layer = 0; layer < trainCase.layers; layer++) {
    const normal = rmsNorm(x, next());
    x = tf.add(x, attention(normal, [next(), next(), next(), next()], trainCase, constants));
    const [norm, gateWeight, up, down] = [next(), next(), next(), next()];
    const middle = rmsNorm(x, norm);
    const gate = linear(middle, gateWeight);
    const silu = tf.mul(gate, tf.sigmoid(gate));
    x = tf.add(x, linear(tf.mul(silu, linear(middle, up)), down));
  }
  const logits = linear(rmsNorm(x, next()), next());
  return tf.losses.softmaxCrossEntropy(constants.labels, logits as tf.Tensor2D) as tf.Scalar;
}

/** Returns the new value and moments; `count` is the number of this update, from 1. */
function adamw(p: tf.Tensor, g: tf.Tensor, m: tf.Tensor, v: tf.Tensor, count: number) {
  const { learningRate, beta1, beta2, eps, decay } = ADAMW;
  const nextM = tf.add(tf.mul(m, beta1), tf.mul(g, 1 - beta1));
  const nextV = tf.add(tf.mul(v, beta2), tf.mul(tf.square(g), 1 - beta2));
  const scale = tf.add(tf.sqrt(tf.mul(nextV, 1 / (1 - beta2 ** count))), eps);
  const update = tf.div(tf.mul(nextM, learningRate / (1 - beta1 ** count)), scale);
  return [tf.sub(tf.mul(p, 1 - learningRate * decay), update), nextM, nextV] as const;
}

async function openStep(trainCase: TrainCase): Promise<Stepper> {
  const constants = makeConstants(trainCase);
  let weights = parametersOf(trainCase).map(
    (parameter, stream): tf.Tensor => tf.tensor(initialValues(parameter, stream), [...parameter.shape]),
  );
  let first: tf.Tensor[] = weights.map((weight) => tf.zerosLike(weight));
  let second: tf.Tensor[] = weights.map((weight) => tf.zerosLike(weight));
  const gradients = tf.valueAndGrads((...list: tf.Tensor[]) => lossOf(list, trainCase, constants));
  let count = 0;
  return {
    async step() {
      count++;
      const old = [...weights, ...first, ...second];
      const { value, next } = tf.tidy(() => {
        const { value, grads } = gradients(weights);
        const next = weights.map((weight, index) =>
          adamw(
            weight,
            grads[index] as tf.Tensor,
            first[index] as tf.Tensor,
            second[index] as tf.Tensor,
            count,
          ),
        );
        return { value, next: next.map((one) => [...one]) };
      });
      weights = next.map(([p]) => p as tf.Tensor);
      first = next.map(([, m]) => m as tf.Tensor);
      second = next.map(([, , v]) => v as tf.Tensor);
      tf.dispose(old);
      const loss = (await value.data())[0] ?? Number.NaN;
      await finished(weights);
      value.dispose();
      return loss;
    },
  };
}

/** Work is queued in order, so reading one number of the last tensor waits for all of it. */
async function finished(tensors: readonly tf.Tensor[]): Promise<void> {
  const last = tensors[tensors.length - 1];
  if (!last) return;
  const probe = tf.tidy(() => tf.slice(tf.reshape(last, [-1]), [0], [1]));
  await probe.data();
  probe.dispose();
}

async function openMatmul(matmulCase: MatmulCase): Promise<MatmulRunner> {
  const { rows, outputs, inputs } = matmulCase;
  const x = tf.tensor2d(matmulInput(matmulCase), [rows, inputs]);
  const w = tf.tensor2d(matmulWeights(matmulCase), [outputs, inputs]);
  return {
    async run(count) {
      const results = Array.from({ length: count }, () => linear(x, w));
      await finished(results);
      tf.dispose(results);
    },
    async firstRow() {
      const result = linear(x, w);
      const row = Float32Array.from((await result.data()).slice(0, outputs));
      result.dispose();
      return row;
    },
  };
}

export async function openTfjs(): Promise<BenchEngine> {
  if (!(await tf.setBackend('webgpu'))) throw new Error('tfjs found no WebGPU');
  await tf.ready();
  return { name: 'tfjs', version: tf.version_core, openStep, openMatmul };
}

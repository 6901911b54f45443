/** Alloy's own engine: the step of `Trainer` on fully trainable weights, and the matrix product kernel. */
import { Trainer } from '../src/distill/trainer.ts';
import { WebGpu } from '../src/gpu/webGpu.ts';
import { matmulNT } from '../src/kernels/matmul.ts';
import { parseConfig } from '../src/models/config.ts';
import type { TensorSource } from '../src/models/tensorSource.ts';
import { loadDecoder } from '../src/models/weights.ts';
import { required } from '../src/util/errors.ts';
import type { BenchEngine, MatmulCase, MatmulRunner, Stepper } from './engine.ts';
import { matmulInput, matmulWeights, packedWeights } from './matmulCase.ts';
import {
  ADAMW,
  batchOf,
  initialValues,
  NORM_EPS,
  parametersOf,
  ROPE_BASE,
  type TrainCase,
} from './trainCase.ts';

export async function openOurs(): Promise<BenchEngine> {
  const gpu = await WebGpu.open();
  return {
    name: 'alloy',
    version: 'this tree',
    openStep: (trainCase) => openStep(gpu, trainCase),
    openMatmul: async (matmulCase) => openMatmul(gpu, matmulCase),
  };
}

async function openStep(gpu: WebGpu, trainCase: TrainCase): Promise<Stepper> {
  const { width, layers, heads, feedForward, vocab, tokens, batch } = trainCase;
  const config = parseConfig(
    {
      model_type: 'llama',
      vocab_size: vocab,
      hidden_size: width,
      intermediate_size: feedForward,
      num_hidden_layers: layers,
      num_attention_heads: heads,
      rms_norm_eps: NORM_EPS,
      rope_theta: ROPE_BASE,
      tie_word_embeddings: false,
    },
    trainCase.name,
  );
  const { weights, parameters } = await loadDecoder(gpu, config, hashedTensors(trainCase), {
    trainable: true,
  });
  const trainer = new Trainer(gpu, {
    config,
    weights,
    parameters: required(parameters, 'parameters'),
    batch,
    lengths: [tokens],
    beta1: ADAMW.beta1,
    beta2: ADAMW.beta2,
    epsilon: ADAMW.eps,
    weightDecay: ADAMW.decay,
    clip: 0,
  });
  const { inputs, targets } = batchOf(trainCase);
  const rows = inputs.length;
  const rowWeights = new Float32Array(2 * rows).map((_, i) => (i % 2 === 0 ? 1 / rows : 0));
  const micro = { length: tokens, tokens: Uint32Array.from(inputs), labels: targets, weights: rowWeights };
  let step = 0;
  let counts: Record<string, number> = {};
  return {
    async step() {
      const before = { ...gpu.stats };
      await trainer.step([micro], ADAMW.learningRate, ++step);
      const [loss] = await trainer.readLosses();
      counts = {
        submits: gpu.stats.submits - before.submits,
        bindGroups: gpu.stats.bindGroups - before.bindGroups,
        buffersMade: gpu.stats.buffersMade - before.buffersMade,
        peakMegabytes: gpu.stats.peakBytes / 2 ** 20,
      };
      return loss?.supervised ?? Number.NaN;
    },
    get counts() {
      return counts;
    },
  };
}

/** The bench's initial values under the names that the loader asks for. */
function hashedTensors(trainCase: TrainCase): TensorSource {
  const parameters = parametersOf(trainCase);
  const find = (name: string) => parameters.findIndex((parameter) => parameter.name === name);
  const values = (name: string) => initialValues(required(parameters[find(name)], name), find(name));
  return {
    file: trainCase.name,
    shape: (name) => parameters[find(name)]?.shape,
    vector: async (name) => values(name),
    async matrix(name) {
      const [rows = 1, cols = 1] = required(parameters[find(name)], name).shape;
      return { format: { kind: 'f32' }, rows, cols, data: values(name) };
    },
  };
}

function openMatmul(gpu: WebGpu, matmulCase: MatmulCase): MatmulRunner {
  const { rows: m, outputs: n, inputs: k } = matmulCase;
  const x = gpu.createFrom(matmulInput(matmulCase), 'x');
  const y = gpu.createBuffer(4 * m * n, 'y');
  const weight = matmulCase.weights === 'f32' ? f32Weight(gpu, matmulCase) : q4Weight(gpu, matmulCase);
  const product = matmulNT({ x, weight, y }, { m, n, k }, gpu.info.software ? 'software' : 'gpu');
  const program = gpu.record([product], matmulCase.name);
  return {
    async run(count) {
      for (let i = 0; i < count; i++) program.submit();
      await gpu.idle();
    },
    firstRow() {
      program.submit();
      return gpu.downloadF32(y, n);
    },
  };
}

function f32Weight(gpu: WebGpu, matmulCase: MatmulCase) {
  return { format: { kind: 'f32' as const }, data: gpu.createFrom(matmulWeights(matmulCase), 'W') };
}

/** The same nibbles and scales as in the ONNX model; the zero point becomes the minimum −8 · scale. */
function q4Weight(gpu: WebGpu, matmulCase: MatmulCase) {
  const { nibbles, scales } = packedWeights(matmulCase);
  const pairs = new Float32Array(2 * scales.length);
  scales.forEach((scale, group) => {
    pairs.set([scale, -8 * scale], 2 * group);
  });
  return {
    format: { kind: 'affine' as const, bits: 4 as const, group: 32 as const, scales: 'f32' as const },
    data: gpu.createFrom(nibbles, 'W'),
    scales: gpu.createFrom(pairs, 'scales'),
  };
}

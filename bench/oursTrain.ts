/** The steps of `Trainer`: on fully trainable weights, and on adapters of a 4-bit model. */

import type { Device } from '../src/device/device.ts';
import { type MicroBatch, Trainer } from '../src/distill/trainer.ts';
import { TrainableAdapters } from '../src/models/adapters.ts';
import { parseConfig } from '../src/models/config.ts';
import type { TensorSource } from '../src/models/tensorSource.ts';
import { loadDecoder } from '../src/models/weights.ts';
import { required } from '../src/util/errors.ts';
import { decodeConfig, decodeTokens, type LoraCase } from './decodeCase.ts';
import type { Stepper } from './engine.ts';
import { packedTensors } from './oursDecode.ts';
import {
  ADAMW,
  batchOf,
  initialValues,
  NORM_EPS,
  parametersOf,
  ROPE_BASE,
  type TrainCase,
} from './trainCase.ts';
import type { Watched } from './watch.ts';

const OPTIMIZER = {
  beta1: ADAMW.beta1,
  beta2: ADAMW.beta2,
  epsilon: ADAMW.eps,
  weightDecay: ADAMW.decay,
  clip: 0,
};

export async function openStep(device: Device, watched: Watched, trainCase: TrainCase): Promise<Stepper> {
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
  const loaded = await loadDecoder(device, config, hashedTensors(trainCase), { trainable: true });
  const parameters = required(loaded.parameters, 'parameters');
  const trainer = new Trainer(device, {
    config,
    weights: loaded.weights,
    parameters,
    batch,
    lengths: [tokens],
    ...OPTIMIZER,
  });
  const { inputs, targets } = batchOf(trainCase);
  return stepper(device, watched, trainer, tokens, Uint32Array.from(inputs), targets);
}

export async function openLora(device: Device, watched: Watched, loraCase: LoraCase): Promise<Stepper> {
  const { model, rank, batch, tokens } = loraCase;
  const config = decodeConfig(model);
  const { weights } = await loadDecoder(device, config, packedTensors(model));
  const matrices = Object.keys(required(weights.layers[0], 'layer').matrices);
  const adapters = new TrainableAdapters(device, config, weights, { rank, alpha: 2 * rank, matrices });
  adapters.initialise(1);
  const { parameters } = adapters;
  const trainer = new Trainer(device, {
    config,
    weights: adapters.weights,
    parameters,
    batch,
    lengths: [tokens],
    ...OPTIMIZER,
  });
  const ids = decodeTokens(model, batch * tokens + 1);
  const targets = Int32Array.from(ids.slice(1));
  return stepper(device, watched, trainer, tokens, Uint32Array.from(ids.slice(0, -1)), targets);
}

function stepper(
  device: Device,
  watched: Watched,
  trainer: Trainer,
  length: number,
  tokens: Uint32Array<ArrayBuffer>,
  labels: Int32Array<ArrayBuffer>,
): Stepper {
  const rows = tokens.length;
  const weights = new Float32Array(2 * rows).map((_, i) => (i % 2 === 0 ? 1 / rows : 0));
  const micro: MicroBatch = { length, tokens, labels, weights };
  let step = 0;
  let counts: Record<string, number> = {};
  // The quickest step counts: what else the processor does is not the engine's.
  let jsMs = Number.POSITIVE_INFINITY;
  return {
    async step() {
      const before = { ...device.stats };
      const js = { ...watched.js };
      await trainer.step([micro], ADAMW.learningRate, ++step);
      const [loss] = await trainer.readLosses();
      jsMs = Math.min(jsMs, watched.js.ms - js.ms);
      counts = {
        submits: device.stats.submits - before.submits,
        bindGroups: device.stats.bindGroups - before.bindGroups,
        buffersMade: device.stats.buffersMade - before.buffersMade,
        pipelines: device.stats.pipelines,
        peakMegabytes: device.stats.peakBytes / 2 ** 20,
        dispatches: watched.js.dispatches - js.dispatches,
        jsMs,
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

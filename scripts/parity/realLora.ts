/**
 * Five steps of LoRA training on a real model. After the first step every element of B has moved by the learning rate times
 * the sign of its gradient, so elements whose gradient is near zero may go either way between engines; losses and norms
 * over whole matrices hardly notice.
 */

import type { Device } from '../../src/device/device.ts';
import type { MicroBatch } from '../../src/distill/trainer.ts';
import { Trainer } from '../../src/distill/trainer.ts';
import { adaptedMatrices, TrainableAdapters } from '../../src/models/adapters.ts';
import type { Parameters } from '../../src/models/parameters.ts';
import { matrixNames, matrixShape } from '../../src/models/weights.ts';
import { loadModel, type OpenModel } from '../../src/pipeline/openModel.ts';
import type { Checks } from './checks.ts';

export interface LoraRecording {
  readonly base: string;
  readonly lora: { readonly r: number; readonly alpha: number; readonly modules: readonly string[] };
  readonly init: { readonly examples: Readonly<Record<string, number>> };
  readonly optimizer: {
    readonly lr: number;
    readonly betas: [number, number];
    readonly eps: number;
    readonly weight_decay: number;
  };
  readonly batch: {
    readonly pad_id: number;
    readonly length: number;
    readonly samples: readonly { readonly ids: readonly number[]; readonly labels: readonly number[] }[];
  };
  readonly loss_before_of_each_sample_alone: readonly number[];
  readonly losses: readonly number[];
  readonly loss_after_5_steps: number;
  readonly global_grad_norm: readonly number[];
  /** Module, then the numbers that `columns` names. */
  readonly matrices: readonly (readonly [string, ...number[]])[];
}

const LOSS_TOLERANCE = 1e-3;

export async function checkRealLora(
  device: Device,
  model: OpenModel,
  recording: LoraRecording,
  checks: Checks,
  name: string,
): Promise<void> {
  checkInitialisation(recording, checks, name);
  const { config } = model;
  const { lr, betas, eps, weight_decay: weightDecay } = recording.optimizer;
  const { r: rank, alpha, modules } = recording.lora;
  const matrices = matrixNames(config).filter((matrix) => modules.includes(`${matrix}_proj`));
  const loaded = await loadModel(device, model);
  const adapters = new TrainableAdapters(device, config, loaded.weights, { rank, alpha, matrices });
  const starts = new Map<string, Float32Array<ArrayBuffer>>();
  for (const { layer, matrix, path } of adaptedMatrices(config, matrices)) {
    const [rows, columns] = matrixShape(config, matrix);
    const number = modules.length * layer + modules.indexOf(`${matrix}_proj`);
    const a = Float32Array.from({ length: rank * columns }, (_, at) =>
      startOfA(number, Math.floor(at / columns), at % columns, columns),
    );
    starts.set(path, a);
    adapters.set(path, a, new Float32Array(rows * rank));
  }
  const { micro, counts } = microBatch(recording);
  const trainer = new Trainer(device, {
    config,
    weights: adapters.weights,
    parameters: adapters.parameters,
    batch: recording.batch.samples.length,
    lengths: [micro.length],
    beta1: betas[0],
    beta2: betas[1],
    epsilon: eps,
    weightDecay,
    clip: 0,
  });
  const { parameters } = adapters;
  try {
    for (let step = 1; step <= recording.losses.length; step++) {
      if (step <= recording.global_grad_norm.length) {
        await trainer.accumulate([micro]);
        if (step === 1)
          checks.close(
            `${name} loss of each sample`,
            sampleLosses(await trainer.rowLosses(), micro, counts),
            recording.loss_before_of_each_sample_alone,
            LOSS_TOLERANCE,
          );
        await checkNorms(parameters, recording, step, checks, name);
      }
      await trainer.step([micro], lr, step);
    }
    const steps = await trainer.readLosses();
    const losses = steps.map(({ supervised }) => supervised);
    console.log(`      ${name}: losses ${losses.map((loss) => loss.toFixed(6)).join(' ')}`);
    checks.close(`${name} losses`, losses, recording.losses, LOSS_TOLERANCE);
    const [first = 0, second = 0] = recording.global_grad_norm;
    checks.close(`${name} global norm 1`, [steps[0]?.gradientNorm ?? 0], [first], 1e-3 * first);
    checks.close(`${name} global norm 2`, [steps[1]?.gradientNorm ?? 0], [second], 1e-2 * second);
    await trainer.accumulate([micro]);
    const after = sampleLosses(await trainer.rowLosses(), micro, counts);
    const total = counts.reduce((sum, count) => sum + count, 0);
    const loss = after.reduce((sum, value, i) => sum + value * (counts[i] ?? 0), 0) / total;
    checks.close(`${name} loss after training`, [loss], [recording.loss_after_5_steps], LOSS_TOLERANCE);
    await checkSums(parameters, recording, starts, checks, name);
  } finally {
    trainer.dispose();
    adapters.dispose();
    loaded.dispose();
  }
}

/** A's deterministic start: a hash of its place, uniform in ±1/√columns. */
function startOfA(matrix: number, row: number, column: number, columns: number): number {
  let x = (Math.imul((matrix << 16) + row * columns + column, 0x9e3779b1) + 0x7f4a7c15) >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b) >>> 0;
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35) >>> 0;
  x = (x ^ (x >>> 16)) >>> 0;
  return (x / 2147483648 - 1) / Math.sqrt(columns);
}

function checkInitialisation({ init }: LoraRecording, checks: Checks, name: string): void {
  for (const [place, want] of Object.entries(init.examples)) {
    const [matrix = 0, row = 0, column = 0, columns = 1] = place.match(/\d+/gu)?.map(Number) ?? [];
    checks.close(`${name} A at ${place}`, [startOfA(matrix, row, column, columns)], [want], 1e-9);
  }
}

/** Both samples side by side; labels moved to the row that predicts them, each with weight 1 / all of them. */
function microBatch({ batch }: LoraRecording): { micro: MicroBatch; counts: number[] } {
  const { samples, length, pad_id: pad } = batch;
  const tokens = new Uint32Array(samples.length * length).fill(pad);
  const labels = new Int32Array(tokens.length).fill(-100);
  const counts = samples.map(({ ids, labels: given }, sample) => {
    tokens.set(ids, sample * length);
    labels.set(given.slice(1), sample * length);
    return given.filter((label, t) => t > 0 && label >= 0).length;
  });
  const all = counts.reduce((sum, count) => sum + count, 0);
  const weights = Float32Array.from({ length: 2 * labels.length }, (_, i) =>
    i % 2 === 0 && (labels[i / 2] ?? -1) >= 0 ? 1 / all : 0,
  );
  return { micro: { length, tokens, labels, weights }, counts };
}

function sampleLosses(
  rows: Float32Array,
  { length, labels }: MicroBatch,
  counts: readonly number[],
): number[] {
  return counts.map((count, sample) => {
    let sum = 0;
    for (let at = sample * length; at < (sample + 1) * length; at++)
      if ((labels[at] ?? -1) >= 0) sum += rows[2 * at] ?? Number.NaN;
    return sum / count;
  });
}

const norm = (values: Float32Array) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));

async function checkNorms(
  parameters: Parameters,
  { matrices, global_grad_norm }: LoraRecording,
  step: number,
  checks: Checks,
  name: string,
): Promise<void> {
  const share = step === 1 ? 1e-3 : 1e-2;
  const floor = 1e-5 * (global_grad_norm[step - 1] ?? 1);
  let worst = 0;
  for (const [path, ...numbers] of matrices) {
    for (const [place, side] of (['A', 'B'] as const).entries()) {
      const want = numbers[2 * (step - 1) + place] ?? Number.NaN;
      const got = norm(await parameters.read(`${path}.lora_${side}.weight`, 'g'));
      if (want > 10 * floor) worst = Math.max(worst, Math.abs(got / want - 1));
      checks.close(`${name} |grad ${side}| of ${path}, step ${step}`, [got], [want], share * want + floor);
    }
  }
  console.log(`      ${name}: norms of step ${step} off by at most ${(100 * worst).toFixed(3)} %`);
}

async function checkSums(
  parameters: Parameters,
  { matrices }: LoraRecording,
  starts: ReadonlyMap<string, Float32Array>,
  checks: Checks,
  name: string,
): Promise<void> {
  const sum = (values: Float32Array) => values.reduce((total, value) => total + Math.abs(value), 0);
  let worst = 0;
  for (const [path, ...numbers] of matrices) {
    const [wantB = Number.NaN, wantA = Number.NaN] = numbers.slice(4);
    const start = starts.get(path);
    const a = await parameters.read(`${path}.lora_A.weight`);
    const gotA = sum(a.map((value, i) => value - (start?.[i] ?? Number.NaN)));
    const gotB = sum(await parameters.read(`${path}.lora_B.weight`));
    worst = Math.max(worst, Math.abs(gotA / wantA - 1), Math.abs(gotB / wantB - 1));
    checks.close(`${name} sum |B| of ${path}`, [gotB], [wantB], 1e-2 * wantB);
    checks.close(`${name} sum |A - A0| of ${path}`, [gotA], [wantA], 1e-2 * wantA);
  }
  console.log(`      ${name}: sums after training off by at most ${(100 * worst).toFixed(3)} %`);
}

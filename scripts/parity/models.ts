/**
 * Tiny random models against recordings of the PyTorch implementations: logits, loss, every gradient, AdamW, greedy
 * decoding, LoRA and distillation. Both sides compute in f32 and only the order of sums differs, so 1e-4 of a tensor's
 * largest value leaves room for rounding (recordings in double precision differ by about 2e-6) and for nothing else.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Device } from '../../src/device/device.ts';
import { type MicroBatch, Trainer } from '../../src/distill/trainer.ts';
import { GgufModel } from '../../src/formats/ggufModel.ts';
import { readPeft } from '../../src/formats/peft.ts';
import { SafetensorsFile } from '../../src/formats/safetensors.ts';
import { Graph, tensorIn } from '../../src/graph/graph.ts';
import { multiply } from '../../src/graph/ops/linear.ts';
import { plan, SlotPool } from '../../src/graph/plan.ts';
import { TrainableAdapters } from '../../src/models/adapters.ts';
import { parseConfig } from '../../src/models/config.ts';
import { type DecoderWeights, decoderInput, decoderLayer, decoderOutput } from '../../src/models/decoder.ts';
import { familyOf } from '../../src/models/families/families.ts';
import { Generator, GREEDY } from '../../src/models/generator.ts';
import type { Parameters } from '../../src/models/parameters.ts';
import { RotaryTables } from '../../src/models/rotaryTables.ts';
import { ggufTensors } from '../../src/models/tensorSource.ts';
import { loadDecoder, matrixNames, matrixPath } from '../../src/models/weights.ts';
import { nodeFileSource } from '../../src/storage/nodeStorage.ts';
import { AlloyError, required } from '../../src/util/errors.ts';
import { type Checks, largest } from './checks.ts';
import { type Case, ofParameter, openCase, type Reference, type Tamper } from './modelCase.ts';

const CONFIG = 'config.json';
const OLDER_CONFIG = 'config.hub.json';
const GGUF = 'model.gguf';

const RELATIVE = 1e-4;
/** Of a gradient's largest element: long sums of numbers that cancel. */
const GRADIENT = 5e-4;
/** Of the largest gradient of a model: those that are 0 in theory (key biases) are rounding noise. */
const GRADIENT_FLOOR = 1e-6;

/** Every case folder under `<goldens>/models`, or those named in `only`. */
export async function checkModels(
  device: Device,
  goldens: string,
  checks: Checks,
  tamper: Tamper = (same) => same,
  only?: readonly string[],
): Promise<void> {
  const root = join(goldens, 'models');
  if (!existsSync(root)) return;
  for (const name of readdirSync(root).sort()) {
    if (only ? !only.includes(name) : !isCase(join(root, name))) continue;
    await checks.guard(name, () => checkCase(device, join(root, name), name, checks, tamper));
  }
}

const isCase = (folder: string) => [CONFIG, OLDER_CONFIG].some((file) => existsSync(join(folder, file)));

async function checkCase(
  device: Device,
  folder: string,
  name: string,
  checks: Checks,
  tamper: Tamper,
): Promise<void> {
  let one: Case;
  try {
    one = await openCase(folder, name, existsSync(join(folder, CONFIG)) ? CONFIG : OLDER_CONFIG, tamper);
  } catch (error) {
    if (!(error instanceof AlloyError)) throw error;
    checks.add(name, false, error.message);
    return;
  }
  await checkLogits(device, one, checks, `${name} logits`);
  if (existsSync(join(folder, OLDER_CONFIG))) {
    await checkLogits(
      device,
      await openCase(folder, name, OLDER_CONFIG, tamper),
      checks,
      `${name} logits, older config`,
    );
  }
  if (existsSync(join(folder, GGUF))) await checkGguf(device, one, checks);
  await checkHidden(device, one, checks);
  if (one.supervised > 0) await checkTraining(device, one, checks);
  await checkGreedy(device, one, checks);
  if (one.reference.lora) await checkLora(device, one, required(one.reference.lora, 'lora'), checks);
  if (one.reference.distill)
    await checkDistillation(device, one, required(one.reference.distill, 'distill'), checks);
}

async function logitsOf(
  device: Device,
  one: Case,
  weights: DecoderWeights,
  compare?: (index: number, hidden: Float32Array) => Promise<void>,
): Promise<Float32Array> {
  const { config, batch, length } = one;
  const pool = new SlotPool(device);
  const rotary = new RotaryTables(device, config, length);
  rotary.setLength(length);
  const buffer = device.createFrom(one.micro.tokens, 'tokens');
  const graph = new Graph(device.info.tuning);
  const tokens = tensorIn(buffer, 'tokens', [batch * length]);
  const input = { tokens, batch, length, rotary: rotary.tables };
  const hidden = [decoderInput(graph, config, weights, input)];
  config.layers.forEach((_, index) => {
    hidden.push(decoderLayer(graph, config, weights, input, required(hidden.at(-1), 'hidden'), index));
  });
  hidden.push(decoderOutput(graph, config, weights, required(hidden.pop(), 'hidden')));
  const logits = graph.tensor('logits', [batch * length, config.vocabSize]);
  multiply(graph, required(hidden.at(-1), 'hidden'), weights.head, logits);
  const planned = plan(device, graph.dispatches, { label: 'logits', pool, keep: [logits, ...hidden] });
  planned.program.submit();
  const values = await device.downloadF32(planned.bufferOf(logits));
  for (const [index, rows] of hidden.entries())
    await compare?.(index, await device.downloadF32(planned.bufferOf(rows)));
  planned.program.dispose();
  rotary.dispose();
  pool.dispose();
  device.destroyBuffer(buffer);
  const cap = config.logitCap;
  return cap > 0 ? values.map((z) => cap * Math.tanh(z / cap)) : values;
}

async function checkLogits(device: Device, one: Case, checks: Checks, name: string): Promise<void> {
  const loaded = await loadDecoder(device, one.config, one.source, { precision: 'f32' });
  await compareLogits(device, one, loaded.weights, await one.recorded.readFloat32('logits'), checks, name);
  loaded.dispose();
}

/** The same model as a GGUF file, with its own names, metadata and orders of rows. */
async function checkGguf(device: Device, one: Case, checks: Checks): Promise<void> {
  const model = await GgufModel.open(await nodeFileSource(join(one.folder, GGUF)));
  const config = parseConfig(model.config, GGUF);
  await checkLogits(
    device,
    { ...one, config, source: ggufTensors(model) },
    checks,
    `${one.name} logits, GGUF`,
  );
}

/** The rows after every layer, the last of them after the final norm, where they are recorded. */
async function checkHidden(device: Device, one: Case, checks: Checks): Promise<void> {
  const { config, recorded, name } = one;
  if (!recorded.tensors.has('hidden.0')) return;
  const loaded = await loadDecoder(device, config, one.source, { precision: 'f32' });
  const mask = await recorded.readFloat32('attention_mask');
  const visible = (i: number) => mask[Math.floor(i / config.width)] === 1;
  await logitsOf(device, one, loaded.weights, async (index, hidden) => {
    const scale = index === config.layers.length ? config.headScale : 1;
    const want = (await recorded.readFloat32(`hidden.${index}`)).map((value) => value * scale);
    checks.close(`${name} hidden ${index}`, hidden, want, RELATIVE * largest(want), visible);
  });
  loaded.dispose();
}

async function compareLogits(
  device: Device,
  one: Case,
  weights: DecoderWeights,
  want: Float32Array,
  checks: Checks,
  name: string,
): Promise<void> {
  const mask = await one.recorded.readFloat32('attention_mask');
  const visible = (i: number) => mask[Math.floor(i / one.config.vocabSize)] === 1;
  checks.close(name, await logitsOf(device, one, weights), want, RELATIVE * largest(want), visible);
}

function trainerFor(
  device: Device,
  one: Case,
  weights: DecoderWeights,
  parameters: Parameters,
  kept = 0,
): Trainer {
  const { betas, eps, weight_decay: weightDecay } = one.reference.adamw;
  return new Trainer(device, {
    config: one.config,
    weights,
    parameters,
    batch: one.batch,
    lengths: [one.length],
    ...(kept > 0 && { teacher: { mode: 'sparse' as const, kept } }),
    beta1: betas[0],
    beta2: betas[1],
    epsilon: eps,
    weightDecay,
    clip: 0,
  });
}

async function compareGradients(
  parameters: Parameters,
  one: Pick<Case, 'recorded' | 'config'>,
  prefix: string,
  checks: Checks,
  label: string,
): Promise<void> {
  const wanted = new Map<string, Float32Array>();
  for (const name of parameters.names) wanted.set(name, await ofParameter(one, prefix, name));
  const most = Math.max(...[...wanted.values()].map(largest));
  for (const [name, want] of wanted) {
    const tolerance = Math.max(GRADIENT * largest(want), GRADIENT_FLOOR * most);
    checks.close(`${label} ${name}`, await parameters.read(name, 'g'), want, tolerance);
  }
}

/**
 * AdamW moves elements of tiny gradients by a whole step in a direction that rounding decides: weights that differ by 1e-7
 * give losses that differ by a thousandth of what was learned.
 */
function compareLosses(checks: Checks, name: string, got: readonly number[], want: readonly number[]): void {
  checks.add(`${name} count`, got.length === want.length, `${got.length} instead of ${want.length}`);
  want.forEach((loss, step) => {
    const tolerance = 2e-4 + 3e-3 * Math.abs(loss - (want[0] ?? loss));
    checks.close(`${name} ${step}`, [got[step] ?? Number.NaN], [loss], tolerance);
  });
}

/** Losses before each step, as the recordings have them. */
async function trainingLosses(
  trainer: Trainer,
  micro: MicroBatch,
  rate: number,
  steps: number,
): Promise<number[]> {
  for (let step = 1; step <= steps; step++) await trainer.step([micro], rate, step);
  return (await trainer.readLosses()).map(({ supervised, distillation }) => supervised + distillation);
}

async function checkTraining(device: Device, one: Case, checks: Checks): Promise<void> {
  const { name, reference, recorded, micro } = one;
  const loaded = await loadDecoder(device, one.config, one.source, { trainable: true });
  const parameters = required(loaded.parameters, 'parameters');
  const trainer = trainerFor(device, one, loaded.weights, parameters);
  await trainer.accumulate([micro]);
  const rows = await trainer.rowLosses();
  checks.close(
    `${name} nll`,
    rows.filter((_, i) => i % 2 === 0),
    await recorded.readFloat32('nll'),
    RELATIVE * 10,
  );
  await compareGradients(parameters, one, 'grad.', checks, `${name} gradient of`);
  const { lr, losses, after_one_step: afterOne } = reference.adamw;
  await trainer.step([micro], lr, 1);
  const { aliases } = familyOf(one.config).names;
  for (const recordedAs of afterOne) {
    const usual = Object.entries(aliases ?? {}).find(([, alias]) => alias === recordedAs)?.[0];
    const parameter = usual ?? recordedAs;
    const gradient = await ofParameter(one, 'grad.', parameter);
    const steady = (i: number) => Math.abs(gradient[i] ?? 0) > 1e-6;
    const want = await ofParameter(one, 'adamw1.', parameter);
    checks.close(`${name} ${parameter} after AdamW`, await parameters.read(parameter), want, 1e-5, steady);
  }
  for (let step = 2; step <= losses.length; step++) await trainer.step([micro], lr, step);
  const got = (await trainer.readLosses()).map(({ supervised }) => supervised);
  compareLosses(checks, `${name} losses`, got, losses);
  checks.close(`${name} loss`, got.slice(0, 1), [reference.loss], 1e-5 * Math.max(1, reference.loss));
  trainer.dispose();
  loaded.dispose();
}

async function checkGreedy(device: Device, one: Case, checks: Checks): Promise<void> {
  if (!one.reference.greedy) return checks.skip(`${one.name} greedy`, 'no continuation is recorded');
  const { prompt, tokens } = one.reference.greedy;
  const loaded = await loadDecoder(device, one.config, one.source, { precision: 'f32' });
  const generator = new Generator(device, one.config, loaded.weights, {
    capacity: prompt.length + tokens.length,
  });
  const got: number[] = [];
  for await (const { id } of generator.generate(prompt, { ...GREEDY, maxNewTokens: tokens.length }, []))
    got.push(id);
  checks.add(
    `${one.name} greedy`,
    got.join() === tokens.join(),
    `${got.join(' ')} instead of ${tokens.join(' ')}`,
  );
  generator.dispose();
  loaded.dispose();
}

async function checkLora(
  device: Device,
  one: Case,
  lora: NonNullable<Reference['lora']>,
  checks: Checks,
): Promise<void> {
  const folder = join(one.folder, 'lora');
  const tensors = await SafetensorsFile.open(await nodeFileSource(join(folder, 'adapter_model.safetensors')));
  const adapter = await readPeft(
    JSON.parse(readFileSync(join(folder, 'adapter_config.json'), 'utf8')),
    tensors,
  );
  const recorded = await SafetensorsFile.open(await nodeFileSource(join(one.folder, 'lora.safetensors')));
  const loaded = await loadDecoder(device, one.config, one.source, { precision: 'f32' });
  const matrices = matrixNames(one.config).filter((matrix) =>
    adapter.matrices.some(({ module }) => module === matrixPath(one.config, 0, matrix)),
  );
  const adapters = new TrainableAdapters(device, one.config, loaded.weights, {
    rank: lora.r,
    alpha: lora.alpha,
    matrices,
  });
  for (const { module, a, b } of adapter.matrices) adapters.set(module, a, b);
  const logits = await recorded.readFloat32('logits');
  await compareLogits(device, one, adapters.weights, logits, checks, `${one.name} LoRA logits`);
  const trainer = trainerFor(device, one, adapters.weights, adapters.parameters);
  await trainer.accumulate([one.micro]);
  await compareGradients(
    adapters.parameters,
    { recorded, config: one.config },
    'grad.base_model.model.',
    checks,
    `${one.name} LoRA gradient of`,
  );
  const losses = await trainingLosses(trainer, one.micro, one.reference.adamw.lr, lora.adamw_losses.length);
  compareLosses(checks, `${one.name} LoRA losses`, losses, lora.adamw_losses);
  trainer.dispose();
  adapters.dispose();
  loaded.dispose();
}

async function checkDistillation(
  device: Device,
  one: Case,
  distill: NonNullable<Reference['distill']>,
  checks: Checks,
): Promise<void> {
  const recorded = await SafetensorsFile.open(await nodeFileSource(join(one.folder, 'distill.safetensors')));
  const ids = Uint32Array.from(await recorded.readFloat32('teacher_ids'));
  const mask = await recorded.readFloat32('teacher_mask');
  const counts = Uint32Array.from(mask, (flag) => (flag === 1 ? distill.k : 0));
  const taught = counts.filter((count) => count > 0).length;
  const weights = one.micro.weights.map((weight, i) => {
    if (i % 2 === 0) return weight * distill.lambda;
    return counts[(i - 1) / 2] ? (1 - distill.lambda) / taught : 0;
  });
  const loaded = await loadDecoder(device, one.config, one.source, { trainable: true });
  const parameters = required(loaded.parameters, 'parameters');
  const trainer = trainerFor(device, one, loaded.weights, parameters, distill.k);
  for (const [variant, numbers] of Object.entries(distill.variants)) {
    const probs = await recorded.readFloat32(`${variant}.teacher_probs`);
    await trainer.accumulate([{ ...one.micro, weights, teacher: { ids, probs, counts } }]);
    const rows = await trainer.rowLosses();
    const total = rows.reduce((sum, loss, i) => sum + loss * (weights[i] ?? 0), 0);
    checks.close(`${one.name} distillation ${variant} loss`, [total], [numbers.loss], 1e-4);
    const label = `${one.name} distillation ${variant} gradient of`;
    await compareGradients(parameters, { recorded, config: one.config }, `${variant}.grad.`, checks, label);
  }
  trainer.dispose();
  loaded.dispose();
}

/**
 * Real model files against recordings of the PyTorch implementations: token ids, log-probabilities, greedy continuations
 * and a short LoRA training, with the weights as the file packs them. Activations are f32 on both sides; the recordings
 * differ from double precision by about 5e-5, so 2e-3 in a log-probability leaves room for the order of sums alone.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Device } from '../../src/device/device.ts';
import { Generator, GREEDY } from '../../src/models/generator.ts';
import type { LoadedModel } from '../../src/models/loadedModel.ts';
import { type ScoredRows, Scorer } from '../../src/models/scorer.ts';
import { loadModel, type OpenModel, openGguf } from '../../src/pipeline/openModel.ts';
import type { Message } from '../../src/pipeline/protocol.ts';
import { modelCacheFolder } from '../../src/storage/nodeFolders.ts';
import { nodeFileSource, sha256OfFile } from '../../src/storage/nodeStorage.ts';
import { type Checks, largest } from './checks.ts';
import { checkRealLora, type LoraRecording } from './realLora.ts';

/** Largest difference of a log-probability, nats. */
const TOLERANCE = 2e-3;
/** Entries closer than this may stand in either order. */
const TIE = 1e-3;
/** Entries of our rows: more than the recorded eight, so that a swapped one is still found. */
const KEPT = 16;

interface Prompt {
  readonly messages?: readonly Message[];
  readonly text: string;
  readonly ids: readonly number[];
  readonly nll: number;
  readonly bytes: number;
  readonly next_logprobs: readonly number[];
  readonly top8_ids: readonly (readonly number[])[];
  readonly top8_logprobs: readonly (readonly number[])[];
  readonly greedy: {
    readonly ids: readonly number[];
    readonly text: string;
    readonly margins: readonly number[];
    readonly ended_with_eos: boolean;
  };
}

interface ModelRecording {
  readonly name: string;
  readonly file: string;
  readonly sha256: string;
  readonly bytes: number;
  readonly tokenization: readonly {
    readonly text: string;
    readonly ids: number[];
    readonly decoded?: string;
  }[];
  readonly prompts: readonly Prompt[];
}

/** @param asked whether a missing model file is a failure instead of a skipped case */
export async function checkReal(
  device: Device,
  goldens: string,
  checks: Checks,
  asked: boolean,
): Promise<void> {
  const folder = join(goldens, 'real');
  const files = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.json')) : [];
  const documents = files.sort().map((name) => ({
    name: basename(name, '.json'),
    document: JSON.parse(readFileSync(join(folder, name), 'utf8')) as unknown,
  }));
  const models = documents.flatMap(({ document }) => (isModel(document) ? [document] : []));
  for (const { name, document } of documents) {
    await checks.guard(name, async () => {
      const wanted = isModel(document) ? document : baseOf(document as LoraRecording, models);
      const path = await findModelFile(wanted);
      if (path === undefined) {
        const why = `${wanted.file} is not in ${modelCacheFolder()}; run npm run test:real`;
        if (asked) checks.add(name, false, why);
        else checks.skip(name, why);
        return;
      }
      const started = performance.now();
      const model = await openGguf(name, await nodeFileSource(path));
      if (isModel(document)) await checkModel(device, model, document, checks);
      else await checkRealLora(device, model, document as LoraRecording, checks, name);
      console.log(`      ${name}: ${Math.round((performance.now() - started) / 1000)} s`);
    });
  }
}

function isModel(document: unknown): document is ModelRecording {
  return typeof document === 'object' && document !== null && 'prompts' in document;
}

interface WantedFile {
  readonly file: string;
  readonly bytes?: number;
  readonly sha256?: string;
}

function baseOf({ base }: LoraRecording, models: readonly ModelRecording[]): WantedFile {
  return models.find(({ file }) => file === base) ?? { file: base };
}

/** A file of the cache with the recorded content, whatever its name; without a recorded hash, the name decides. */
async function findModelFile({ file, bytes, sha256 }: WantedFile): Promise<string | undefined> {
  const folder = modelCacheFolder();
  if (!existsSync(folder)) return undefined;
  for (const name of readdirSync(folder).sort()) {
    if (!name.endsWith('.gguf')) continue;
    const path = join(folder, name);
    if (sha256 === undefined) {
      if (name === file) return path;
    } else if ((await nodeFileSource(path)).bytes === bytes && (await sha256OfFile(path)) === sha256)
      return path;
  }
  return undefined;
}

async function checkModel(
  device: Device,
  model: OpenModel,
  recording: ModelRecording,
  checks: Checks,
): Promise<void> {
  for (const { text, ids, decoded } of recording.tokenization) {
    const { tokenizer } = model.text;
    const label = `${recording.name} tokens of ${JSON.stringify(text.slice(0, 24))}`;
    sameIds(checks, label, tokenizer.encode(text), ids);
    const back = tokenizer.decode(ids);
    checks.add(`${label} decoded`, back === (decoded ?? text), JSON.stringify(back));
  }
  for (const [index, prompt] of recording.prompts.entries()) {
    const label = `${recording.name} prompt ${index}`;
    sameIds(checks, `${label} ids`, model.text.raw(prompt.text), prompt.ids);
    if (prompt.messages) sameIds(checks, `${label} rendered`, model.text.prompt(prompt.messages), prompt.ids);
  }
  const loaded = await loadModel(device, model);
  try {
    await checkRows(device, loaded, recording, checks);
    await checkGreedy(device, loaded, model, recording, checks);
  } finally {
    loaded.dispose();
  }
}

function sameIds(checks: Checks, name: string, got: readonly number[], want: readonly number[]): void {
  const at = want.findIndex((id, i) => id !== got[i]);
  const same = got.length === want.length && at < 0;
  checks.add(name, same, `${got.length} ids instead of ${want.length}, first difference at ${at}`);
}

async function checkRows(
  device: Device,
  { config, weights }: LoadedModel,
  recording: ModelRecording,
  checks: Checks,
): Promise<void> {
  const scorer = new Scorer(device, config, weights, { topK: KEPT });
  try {
    for (const [index, prompt] of recording.prompts.entries()) {
      const [rows] = await scorer.score([prompt.ids]);
      if (rows) comparePrompt(rows, prompt, checks, `${recording.name} prompt ${index}`);
    }
  } finally {
    scorer.dispose();
  }
}

function comparePrompt(rows: ScoredRows, prompt: Prompt, checks: Checks, label: string): void {
  const count = prompt.ids.length;
  const next = [...rows.labelLogProb.subarray(0, count - 1)];
  checks.close(`${label} next log-probabilities`, next, prompt.next_logprobs, TOLERANCE);
  const nll = -next.reduce((sum, value) => sum + value, 0);
  checks.close(`${label} nll`, [nll], [prompt.nll], TOLERANCE * Math.sqrt(count));
  const differences = next.map((value, t) => value - (prompt.next_logprobs[t] ?? Number.NaN));
  let worst = largest(differences);
  const problems: string[] = [];
  for (let t = 0; t < count; t++) {
    const found = compareRow(rows, t, prompt.top8_ids[t] ?? [], prompt.top8_logprobs[t] ?? []);
    worst = Math.max(worst, found.worst);
    if (found.problem) problems.push(`row ${t}: ${found.problem}`);
  }
  checks.add(`${label} top 8`, problems.length === 0, problems.slice(0, 3).join('; '));
  const off = `log-probabilities off by at most ${worst.toExponential(1)}`;
  console.log(`      ${label}: ${count} tokens, ${off}, nll ${nll.toFixed(4)} (recorded ${prompt.nll})`);
}

/** Every recorded entry has our value within the tolerance, and ours come in the recorded order but for near ties. */
function compareRow(
  { topIds, topLogProbs }: ScoredRows,
  t: number,
  ids: readonly number[],
  logProbs: readonly number[],
): { worst: number; problem?: string } {
  const kept = Math.min(KEPT, topIds.length);
  const ours = topIds.subarray(t * kept, (t + 1) * kept);
  const values = topLogProbs.subarray(t * kept, (t + 1) * kept);
  let worst = 0;
  for (const [rank, id] of ids.entries()) {
    const place = ours.indexOf(id);
    const want = logProbs[rank] ?? Number.NaN;
    if (place < 0) return { worst, problem: `the token ${id} is not among our ${kept} best` };
    const off = Math.abs((values[place] ?? Number.NaN) - want);
    worst = Math.max(worst, off);
    if (!(off <= TOLERANCE)) return { worst, problem: `the token ${id} is off by ${off.toExponential(2)}` };
    // What stands at the recorded place must be as likely, whichever of two near-equal tokens it is.
    const there = ids.indexOf(ours[rank] ?? -1);
    const recorded = there < 0 ? (logProbs.at(-1) ?? 0) : (logProbs[there] ?? 0);
    if (there !== rank && Math.abs(recorded - want) > TIE)
      return { worst, problem: `the token ${ours[rank]} stands at place ${rank} instead of ${id}` };
  }
  return { worst };
}

async function checkGreedy(
  device: Device,
  { config, weights }: LoadedModel,
  { text }: OpenModel,
  recording: ModelRecording,
  checks: Checks,
): Promise<void> {
  const longest = Math.max(...recording.prompts.map(({ ids, greedy }) => ids.length + greedy.ids.length));
  const generator = new Generator(device, config, weights, { capacity: longest });
  try {
    for (const [index, { ids, greedy }] of recording.prompts.entries()) {
      const name = `${recording.name} prompt ${index} greedy`;
      const got: number[] = [];
      const sampling = { ...GREEDY, maxNewTokens: greedy.ids.length };
      for await (const { id } of generator.generate(ids, sampling, [])) {
        const want = greedy.ids[got.length];
        // After a tie that went the other way the texts differ for good reason.
        if (id !== want && (greedy.margins[got.length] ?? 0) < TIE) break;
        got.push(id);
        if (id !== want) break;
      }
      const right = got.every((id, i) => id === greedy.ids[i]);
      checks.add(name, right && got.length > 0, `${got.join(' ')} instead of ${greedy.ids.join(' ')}`);
      const answer = text.tokenizer.decode(greedy.ids, { start: false });
      checks.add(`${name} text`, answer === greedy.text, JSON.stringify(answer));
      const stops = text.stopTokens.includes(greedy.ids.at(-1) ?? -1);
      checks.add(`${name} end`, stops === greedy.ended_with_eos, `stop tokens ${text.stopTokens.join(' ')}`);
    }
  } finally {
    generator.dispose();
  }
}

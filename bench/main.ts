/*
 * `npm run bench`: our engine against others on one machine in one run. It times train steps, products of linear layers and
 * generation, checks that all engines compute the same numbers, and prints the table of targets.
 */

import { existsSync, writeFileSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isOnProcessor } from '../src/device/device.ts';
import { WebGpuDevice } from '../src/device/webgpu/webGpuDevice.ts';
import { targetChart } from './chart.ts';
import { DECODE, LORA, SMALL_LORA } from './decodeCase.ts';
import { writeSection } from './document.ts';
import { LARGE_MATMULS, MATMULS } from './matmulCase.ts';
import { type Failure, measureColdStart, measureMatmul, measureStep, type Suite } from './measure.ts';
import { measureDecode } from './measureDecode.ts';
import { provideNavigatorGpu } from './navigatorGpu.ts';
import { type Options, readOptions, usage } from './options.ts';
import { RemoteEngine } from './remoteEngine.ts';
import {
  type BenchReport,
  decodeTable,
  loadWords,
  matmulTable,
  OURS,
  profileTable,
  ratiosOf,
  stepTable,
  targetTable,
} from './report.ts';
import type { AskedEngine } from './requests.ts';
import { targetRows } from './targets.ts';
import { findTorch, measureTorch } from './torch.ts';
import { LARGE, SMALL } from './trainCase.ts';
import { benchWasm } from './wasm.ts';
import { ENGINES, serveEngine } from './worker.ts';

const DOCUMENT = join('docs', 'performance.md');
const PROGRAM = fileURLToPath(import.meta.url);
/** Where engines have something to say. */
const ABLE: Readonly<Record<'step' | 'f32' | 'q4' | 'decode', readonly string[]>> = {
  step: [OURS, 'jax-js', 'tfjs'],
  f32: Object.keys(ENGINES),
  q4: [OURS, 'onnxruntime-web'],
  decode: [OURS, 'onnxruntime-web'],
};

const print = (text = '') => console.log(text);

async function describeAdapter(): Promise<{ adapter: string; software: boolean }> {
  const device = await WebGpuDevice.open(await provideNavigatorGpu());
  return { adapter: device.name, software: isOnProcessor(device.info) };
}

class Bench {
  readonly #options: Options;
  readonly #engines: readonly AskedEngine[];
  readonly #large: boolean;
  readonly #software: boolean;
  readonly failures: Failure[] = [];

  constructor(options: Options, engines: readonly AskedEngine[], software: boolean) {
    this.#options = options;
    this.#engines = engines;
    this.#software = software;
    this.#large = options.large || !software;
  }

  async steps(): Promise<BenchReport['steps']> {
    const { parts, seconds } = this.#options;
    const suites = [];
    for (const trainCase of parts.has('step') ? [SMALL, ...(this.#large ? [LARGE] : [])] : []) {
      const { width, layers, vocab, tokens, batch } = trainCase;
      print(
        `\nTrain step "${trainCase.name}": D ${width}, L ${layers}, V ${vocab}, T ${tokens}, B ${batch}, AdamW`,
      );
      const suite = await measureStep(this.#able('step'), trainCase, { seconds, maxRounds: 60 });
      suites.push(this.#note(suite, stepTable(suite)));
      await this.#profile();
    }
    if (parts.has('lora')) {
      const loraCase = this.#software ? SMALL_LORA : LORA;
      const { rank, batch, tokens, model } = loraCase;
      print(`\nLoRA step: rank ${rank}, T ${tokens}, B ${batch}, on ${model.name}`);
      const rounds = { seconds: Math.min(seconds, 30), maxRounds: 20 };
      const suite = await measureStep(
        this.#engines.filter(({ name }) => name === OURS),
        loraCase,
        rounds,
      );
      suites.push(this.#note(suite, stepTable(suite)));
      await this.#profile();
    }
    return suites;
  }

  async matmuls(): Promise<BenchReport['matmuls']> {
    const suites = [];
    const cases = this.#large ? [...MATMULS, ...LARGE_MATMULS] : MATMULS;
    for (const matmulCase of this.#options.parts.has('matmul') ? cases : []) {
      print(`\nProduct ${matmulCase.name}`);
      const suite = await measureMatmul(this.#able(matmulCase.weights), matmulCase);
      suites.push(this.#note(suite, matmulTable(suite)));
    }
    return suites;
  }

  async decodes(): Promise<BenchReport['decodes']> {
    if (!this.#options.parts.has('decode')) return [];
    const decodeCase = this.#options.quick ? { ...DECODE, prompt: 56, answer: 20 } : DECODE;
    const { name, prompt, answer } = decodeCase;
    print(`\nGeneration: ${name}, ${prompt} tokens and ${answer} behind them`);
    const suite = await measureDecode(this.#able('decode'), decodeCase);
    this.#note(suite, decodeTable(suite));
    await this.#profile();
    return [suite];
  }

  async coldStart(): Promise<BenchReport['coldStart']> {
    if (!this.#options.parts.has('cold') || this.#options.quick) return undefined;
    const start = await measureColdStart(PROGRAM, OURS, SMALL);
    print(`\nCold start to the first step: ${start.ms.toFixed(0)} ms, ${start.pipelines} pipelines`);
    return start;
  }

  #able(what: keyof typeof ABLE): AskedEngine[] {
    return this.#engines.filter(({ name }) => ABLE[what].includes(name));
  }

  #note<R>(suite: Suite<R>, table: string): Suite<R> {
    print(table);
    this.failures.push(...suite.failures);
    return suite;
  }

  async #profile(): Promise<void> {
    const ours = this.#engines.find(({ name }) => name === OURS);
    if (!this.#options.profile || !ours) return;
    const { kernels = [] } = await ours.ask({ kind: 'profile' });
    print(
      `\n${kernels.length > 0 ? profileTable(kernels) : 'This adapter has no timestamps to profile with.'}`,
    );
  }
}

async function openEngines(names: readonly string[], failures: Failure[]) {
  const versions: Record<string, string> = {};
  const engines: AskedEngine[] = [];
  for (const name of names) {
    const engine = new RemoteEngine(PROGRAM, name);
    try {
      versions[name] = (await engine.ask({ kind: 'open' })).version ?? '';
      engines.push(engine);
    } catch (error) {
      engine.close();
      failures.push({ engine: name, what: 'start', reason: (error as Error).message });
    }
  }
  return { versions, engines };
}

async function main(args: string[]): Promise<number> {
  if (args.includes('--help')) {
    print(usage(Object.keys(ENGINES)));
    return 0;
  }
  if (args[0] === 'wasm') {
    const { seconds, quick } = readOptions(args.slice(1), Object.keys(ENGINES));
    const webgpu = await describeAdapter().then(
      () => true,
      () => false,
    );
    const document = quick ? undefined : DOCUMENT;
    return benchWasm(PROGRAM, { seconds, webgpu, document }, print);
  }
  const options = readOptions(args, Object.keys(ENGINES));
  const machine = { cores: availableParallelism(), load: loadavg()[0] ?? 0 };
  const { adapter, software } = await describeAdapter();
  print(`Adapter: ${adapter}${software ? ' (software)' : ''}; ${loadWords(machine)}`);
  const failures: Failure[] = [];
  const { versions, engines } = await openEngines(options.engines, failures);
  const torch = findTorch(software);
  const found = Object.entries(versions).map((entry) => entry.join(' '));
  print(`Engines: ${[...found, torch.version ? `PyTorch ${torch.version}` : ''].filter(Boolean).join(', ')}`);
  const bench = new Bench(options, engines, software);
  const coldStart = await bench.coldStart();
  const steps = await bench.steps();
  const matmuls = await bench.matmuls();
  const decodes = await bench.decodes();
  for (const engine of engines) engine.close();
  const ratios = Object.fromEntries([
    ...steps.map(({ name, results }) => [`step ${name}`, ratiosOf(results, ({ medianMs }) => medianMs)]),
    ...matmuls.map(({ name, results }) => [name, ratiosOf(results, ({ bestMs }) => bestMs)]),
    ...decodes.map(({ name, results }) => [name, ratiosOf(results, ({ msPerToken }) => msPerToken)]),
  ]) as BenchReport['ratios'];
  const report: BenchReport = {
    adapter,
    software,
    node: process.version,
    ...machine,
    versions,
    steps,
    matmuls,
    decodes,
    torch: measureTorch(
      torch,
      steps.map(({ name }) => name),
    ),
    ...(coldStart && { coldStart }),
    ratios,
  };
  write(report, options);
  failures.push(...bench.failures);
  for (const { engine, what, reason } of failures) print(`\nFAILED ${engine}, ${what}: ${reason}`);
  return failures.length > 0 ? 1 : 0;
}

/** Prints the table of targets and keeps everything: JSON, a picture and, after a whole run, docs/performance.md. */
function write(report: BenchReport, options: Options): void {
  const rows = targetRows(report);
  print(`\n${targetTable(rows)}`);
  const picture = `${options.out.replace(/\.json$/, '')}.svg`;
  writeFileSync(options.out, `${JSON.stringify({ ...report, targets: rows }, undefined, 2)}\n`);
  writeFileSync(picture, targetChart(rows, report.adapter));
  const kept = options.whole && existsSync(DOCUMENT) ? [DOCUMENT] : [];
  if (kept.length > 0) writeSection(DOCUMENT, report, rows);
  print(`\nWritten to ${[options.out, picture, ...kept].join(', ')}`);
}

if (process.argv[2] === '--worker') {
  await serveEngine(process.argv[3] ?? '', process.argv[4]);
} else {
  try {
    process.exit(await main(process.argv.slice(2)));
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exit(2);
  }
}

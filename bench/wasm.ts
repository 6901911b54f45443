/*
 * `npm run bench -- wasm`: the WASM device against the WebAssembly of others, on one thread and on all of them, and
 * against our own WebGPU. Every engine has a process of its own; those of one comparison take turns.
 */
import { availableParallelism, cpus, loadavg } from 'node:os';
import { DECODE } from './decodeCase.ts';
import { writeSection } from './document.ts';
import type { MatmulCase } from './engine.ts';
import { inChromium } from './inChromium.ts';
import { type Failure, measureMatmul, measureStep, type Suite } from './measure.ts';
import { measureDecode } from './measureDecode.ts';
import { FORWARD_TOKENS, forwardFlops } from './oursForward.ts';
import { RemoteEngine } from './remoteEngine.ts';
import { decodeTable, loadWords, matmulTable, OURS, ratiosOf, stepTable, targetTable } from './report.ts';
import type { AskedEngine } from './requests.ts';
import { type Target, WEBGPU, wasmOn } from './target.ts';
import { digits, type TargetRow } from './targetRow.ts';
import { SMALL } from './trainCase.ts';
import { ENGINES } from './worker.ts';

const F32: MatmulCase = { name: 'f32 1024³', rows: 1024, outputs: 1024, inputs: 1024, weights: 'f32' };
const PRODUCTS: readonly MatmulCase[] = [
  { name: 'f32 512³', rows: 512, outputs: 512, inputs: 512, weights: 'f32' },
  F32,
  { name: '4-bit 1024³', rows: 1024, outputs: 1024, inputs: 1024, weights: 'q4' },
];
const ORT = 'onnxruntime-web';
/** The same model with the weights and the arithmetic that may be fastest there. */
const ORT_DECODERS = [ORT, `${ORT}, int8`, `${ORT}, f32`];
const OWN_WEBGPU = 'alloy on WebGPU';

export interface WasmOptions {
  readonly seconds: number;
  /** The document that keeps the table; none of a quick run. */
  readonly document: string | undefined;
  /** Whether a WebGPU adapter is there to compare with. */
  readonly webgpu: boolean;
}

interface Figures {
  readonly steps: Steps;
  readonly matmuls: readonly Suite<{ engine: string; bestMs: number; gflops: number }>[];
  readonly decodes: Suite<{ engine: string; msPerToken: number; firstMs: number }>;
  readonly forwardMs: number;
}

type Steps = Suite<{ engine: string; medianMs: number }>;

class Comparison {
  readonly #program: string;
  readonly #print: (text: string) => void;
  readonly failures: Failure[] = [];
  readonly versions: Record<string, string> = {};

  constructor(program: string, print: (text: string) => void) {
    this.#program = program;
    this.#print = print;
  }

  /** All measurements on so many threads. @param others engines that step beside the WASM ones */
  async measure(
    threads: number,
    seconds: number,
    others: readonly [string, Target, string][],
  ): Promise<Figures> {
    const on = wasmOn(threads);
    const words = `${threads} ${threads === 1 ? 'thread' : 'threads'}`;
    const step = await this.#between(
      [[OURS, on], ...(threads === 1 ? ([['jax-js', on]] as const) : []), ...others],
      (engines) => measureStep(engines, SMALL, { seconds, maxRounds: 30 }),
    );
    this.#print(`\nTrain step "${SMALL.name}", ${words}\n${stepTable(step)}`);
    const matmuls = [];
    for (const product of PRODUCTS) {
      const suite = await this.#between(
        [
          [OURS, on],
          [ORT, on],
        ],
        (engines) => measureMatmul(engines, product),
      );
      this.#print(`\nProduct ${product.name}, ${words}\n${matmulTable(suite)}`);
      matmuls.push(suite);
    }
    const decodes = await this.#between(
      [OURS, ...ORT_DECODERS].map((name) => [name, on] as const),
      (engines) => measureDecode(engines, DECODE),
    );
    this.#print(`\nGeneration: ${DECODE.name}, ${words}\n${decodeTable(decodes)}`);
    const forwardMs = await this.#forward(on);
    return { steps: step, matmuls, decodes, forwardMs };
  }

  /** Train steps in pages, where threads are what a browser has of them. */
  async inPages(seconds: number): Promise<Steps | undefined> {
    const { ALLOY_BENCH_PAGE: page, ALLOY_CHROMIUM: chromium } = process.env;
    if (page === undefined || chromium === undefined) return undefined;
    const steps = await inChromium(page, chromium, [OURS, 'jax-js'], (engines) =>
      measureStep(engines, SMALL, { seconds, maxRounds: 30 }),
    );
    this.failures.push(...steps.failures);
    this.#print(`\nTrain step "${SMALL.name}", in Chromium\n${stepTable(steps)}`);
    return steps;
  }

  /** The best of a few times that our engine reads 512 tokens. */
  async #forward(target: Target): Promise<number> {
    const engine = new RemoteEngine(this.#program, OURS, { target });
    try {
      await engine.ask({ kind: 'open' });
      await engine.ask({ kind: 'openForward', decodeCase: DECODE });
      const times: number[] = [];
      for (let round = 0; round < 4; round++) times.push((await engine.ask({ kind: 'step' })).ms);
      return Math.min(...times.slice(1));
    } catch (error) {
      this.failures.push({ engine: OURS, what: 'forward', reason: (error as Error).message });
      return Number.NaN;
    } finally {
      engine.close();
    }
  }

  async #between<R>(
    wanted: readonly (readonly [name: string, target: Target, label?: string])[],
    measure: (engines: readonly AskedEngine[]) => Promise<Suite<R>>,
  ): Promise<Suite<R>> {
    const engines: AskedEngine[] = [];
    try {
      for (const [name, target, label] of wanted) {
        const engine = new RemoteEngine(this.#program, name, { target, ...(label && { label }) });
        engines.push(engine);
        const { version = '' } = await engine.ask({ kind: 'open' });
        if (name in ENGINES) this.versions[name] = version;
      }
      const suite = await measure(engines);
      this.failures.push(...suite.failures);
      return suite;
    } finally {
      for (const engine of engines) engine.close();
    }
  }
}

function against<R extends { readonly engine: string }>(
  suite: Suite<R> | undefined,
  peer: string,
  ms: (result: R) => number,
): Pick<TargetRow, 'value' | 'note'> {
  const ours = suite?.results.find(({ engine }) => engine === OURS);
  const value = suite && ratiosOf(suite.results, ms)[peer];
  if (!ours || value === undefined) return { value: undefined, note: 'not measured in this run' };
  return { value, note: `${digits(ms(ours))} ms, ${peer} ${digits(value * ms(ours))} ms` };
}

function rowsOf(figures: Figures, threads: number): TargetRow[] {
  const { steps, matmuls, decodes } = figures;
  const words = threads === 1 ? '1 thread' : `${threads} threads`;
  const times = (what: string, target: number | undefined, from: Pick<TargetRow, 'value' | 'note'>) =>
    ({ what: `${what}, ${words}`, unit: '×', target, less: false, ...from }) as const;
  const product = (name: string) =>
    against(
      matmuls.find((one) => one.name === name),
      ORT,
      ({ bestMs }) => bestMs,
    );
  return [
    times('f32 product 1024³ against onnxruntime-web', 0.9, product(F32.name)),
    times('4-bit product 1024³ against onnxruntime-web', undefined, product('4-bit 1024³')),
    ...(threads === 1
      ? [
          times(
            'train step, small, against jax-js',
            1,
            against(steps, 'jax-js', ({ medianMs }) => medianMs),
          ),
        ]
      : [
          times(
            'train step, small, against our WebGPU here',
            4,
            against(steps, OWN_WEBGPU, ({ medianMs }) => medianMs),
          ),
        ]),
    times(
      'greedy generation against onnxruntime-web',
      1.2,
      fastestOf(ORT_DECODERS.map((peer) => against(decodes, peer, ({ msPerToken }) => msPerToken))),
    ),
    {
      what: `${FORWARD_TOKENS} tokens read: products at our best rate, ${words}`,
      unit: '%',
      target: 60,
      less: false,
      ...forwardShare(figures),
    },
  ];
}

/** The comparison with the peer that comes nearest. */
function fastestOf(rows: readonly Pick<TargetRow, 'value' | 'note'>[]): Pick<TargetRow, 'value' | 'note'> {
  const measured = rows.filter(({ value }) => value !== undefined);
  const nearest = [...measured].sort((a, b) => (a.value ?? 0) - (b.value ?? 0))[0];
  return nearest ?? { value: undefined, note: 'not measured in this run' };
}

function forwardShare({ forwardMs, matmuls }: Figures): Pick<TargetRow, 'value' | 'note'> {
  const rates = matmuls.flatMap(({ results }) => results.filter(({ engine }) => engine === OURS));
  if (Number.isNaN(forwardMs) || rates.length === 0)
    return { value: undefined, note: 'not measured in this run' };
  const best = Math.max(...rates.map(({ gflops }) => gflops));
  const rate = forwardFlops(DECODE) / forwardMs / 1e6;
  return {
    value: (100 * rate) / best,
    note: `${digits(forwardMs)} ms, ${digits(rate)} of ${digits(best)} GFLOP/s`,
  };
}

/** @returns the exit code */
export async function benchWasm(
  program: string,
  { seconds, webgpu, document }: WasmOptions,
  print: (text: string) => void,
): Promise<number> {
  const threads = availableParallelism();
  const machine = { cores: threads, load: loadavg()[0] ?? 0 };
  print(loadWords(machine));
  const comparison = new Comparison(program, print);
  const many = await comparison.measure(threads, seconds, webgpu ? [[OURS, WEBGPU, OWN_WEBGPU]] : []);
  const one = await comparison.measure(1, seconds, []);
  const pages = await comparison.inPages(seconds);
  const rows = [
    ...rowsOf(many, threads),
    ...rowsOf(one, 1),
    {
      what: 'train step, small, against jax-js, in Chromium',
      unit: '×',
      target: 1,
      less: false,
      ...against(pages, 'jax-js', ({ medianMs }) => medianMs),
    } as const,
  ];
  print(`\n${targetTable(rows)}`);
  const adapter = `The processor (${cpus()[0]?.model.trim() ?? 'unknown'}) through WebAssembly`;
  if (document !== undefined) {
    writeSection(
      document,
      { adapter, node: process.version, ...machine, versions: comparison.versions },
      rows,
    );
  }
  for (const { engine, what, reason } of comparison.failures) print(`\nFAILED ${engine}, ${what}: ${reason}`);
  return comparison.failures.length > 0 ? 1 : 0;
}

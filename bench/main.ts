/*
 * `npm run bench`: our engine against others on one machine in one run. It times a whole train step (see trainCase.ts) and
 * the products of linear layers, checks that all engines compute the same numbers, and prints how many times faster ours is.
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { WebGpu } from '../src/gpu/webGpu.ts';
import { AlloyError } from '../src/util/errors.ts';
import { LARGE_MATMULS, MATMULS } from './matmulCase.ts';
import {
  type Failure,
  type MatmulResult,
  measureMatmul,
  measureStep,
  type StepResult,
  type Suite,
} from './measure.ts';
import { provideNavigatorGpu } from './navigatorGpu.ts';
import { RemoteEngine } from './remoteEngine.ts';
import { type BenchReport, matmulTable, ratiosOf, stepTable } from './report.ts';
import { LARGE, SMALL } from './trainCase.ts';
import { ENGINES, serveEngine } from './worker.ts';

const USAGE = `npm run bench [-- OPTIONS]
  --only step,matmul    what to measure (default: both)
  --engines a,b         of ${Object.keys(ENGINES).join(', ')} (default: all)
  --seconds N           time for the rounds of a train step (default 90)
  --large               also a large train step and 4096-wide products (default on a real GPU)
  --out FILE            where the JSON goes (default bench.json)
  --pack DIR            instead of measuring, pack all of it for a bare Linux machine with a GPU driver`;

interface Options {
  readonly step: boolean;
  readonly matmul: boolean;
  readonly engines: readonly string[];
  readonly seconds: number;
  readonly large: boolean;
  readonly out: string;
}

function list(value: string | undefined, known: readonly string[], option: string): readonly string[] {
  const names = value === undefined ? known : value.split(',');
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new AlloyError('bad-argument', `--${option} has no "${unknown}"; choose from ${known.join(', ')}.`);
  }
  return names;
}

function readOptions(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      only: { type: 'string' },
      engines: { type: 'string' },
      seconds: { type: 'string', default: '90' },
      large: { type: 'boolean', default: false },
      out: { type: 'string', default: 'bench.json' },
    },
  });
  const only = list(values.only, ['step', 'matmul'], 'only');
  const seconds = Number(values.seconds);
  if (!(seconds >= 0))
    throw new AlloyError('bad-argument', `--seconds ${values.seconds} is not a number of seconds.`);
  return {
    step: only.includes('step'),
    matmul: only.includes('matmul'),
    engines: list(values.engines, Object.keys(ENGINES), 'engines'),
    seconds,
    large: values.large,
    out: values.out,
  };
}

const print = (text = '') => console.log(text);

async function describeAdapter(): Promise<{ adapter: string; software: boolean }> {
  const gpu = await WebGpu.open(await provideNavigatorGpu());
  return { adapter: gpu.name, software: gpu.info.software };
}

async function measureSteps(
  engines: readonly RemoteEngine[],
  options: Options,
  large: boolean,
): Promise<Suite<StepResult>[]> {
  const trainers = engines.filter(({ name }) => name !== 'onnxruntime-web');
  const suites: Suite<StepResult>[] = [];
  for (const trainCase of large ? [SMALL, LARGE] : [SMALL]) {
    const { width, layers, vocab, tokens, batch } = trainCase;
    print(
      `\nTrain step "${trainCase.name}": D ${width}, L ${layers}, V ${vocab}, T ${tokens}, B ${batch}, AdamW`,
    );
    const suite = await measureStep(trainers, trainCase, { seconds: options.seconds, maxRounds: 60 });
    print(stepTable(suite));
    suites.push(suite);
  }
  return suites;
}

async function measureMatmuls(
  engines: readonly RemoteEngine[],
  large: boolean,
): Promise<Suite<MatmulResult>[]> {
  const suites: Suite<MatmulResult>[] = [];
  for (const matmulCase of large ? [...MATMULS, ...LARGE_MATMULS] : MATMULS) {
    const able = engines.filter(
      ({ name }) => matmulCase.weights === 'f32' || name === 'alloy' || name === 'onnxruntime-web',
    );
    print(`\nProduct ${matmulCase.name}`);
    const suite = await measureMatmul(able, matmulCase);
    print(matmulTable(suite));
    suites.push(suite);
  }
  return suites;
}

async function main(args: string[]): Promise<number> {
  if (args.includes('--help')) {
    print(USAGE);
    return 0;
  }
  const options = readOptions(args);
  const { adapter, software } = await describeAdapter();
  print(`Adapter: ${adapter}${software ? ' (software)' : ''}`);
  const large = options.large || !software;
  const engines = options.engines.map((name) => new RemoteEngine(fileURLToPath(import.meta.url), name));
  const versions: Record<string, string> = {};
  const failures: Failure[] = [];
  const open: RemoteEngine[] = [];
  for (const engine of engines) {
    try {
      versions[engine.name] = (await engine.ask({ kind: 'open' })).version ?? '';
      open.push(engine);
    } catch (error) {
      failures.push({ engine: engine.name, what: 'start', reason: (error as Error).message });
    }
  }
  print(
    `Engines: ${Object.entries(versions)
      .map((entry) => entry.join(' '))
      .join(', ')}`,
  );
  const steps = options.step ? await measureSteps(open, options, large) : [];
  const matmuls = options.matmul ? await measureMatmuls(open, large) : [];
  for (const engine of engines) engine.close();
  const ratios = Object.fromEntries([
    ...steps.map(({ name, results }) => [`step ${name}`, ratiosOf(results, ({ medianMs }) => medianMs)]),
    ...matmuls.map(({ name, results }) => [name, ratiosOf(results, ({ bestMs }) => bestMs)]),
  ]) as BenchReport['ratios'];
  const report: BenchReport = { adapter, software, node: process.version, versions, steps, matmuls, ratios };
  writeFileSync(options.out, `${JSON.stringify(report, undefined, 2)}\n`);
  failures.push(...steps.flatMap((suite) => suite.failures), ...matmuls.flatMap((suite) => suite.failures));
  for (const { engine, what, reason } of failures) print(`\nFAILED ${engine}, ${what}: ${reason}`);
  print(`\nWritten to ${options.out}`);
  return failures.length > 0 ? 1 : 0;
}

if (process.argv[2] === '--worker') {
  await serveEngine(process.argv[3] ?? '');
} else {
  try {
    process.exit(await main(process.argv.slice(2)));
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exit(2);
  }
}

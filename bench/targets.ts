import type { MatmulResult, StepResult, Suite } from './measure.ts';
import { type BenchReport, OURS, ratiosOf } from './report.ts';
import { digits, type TargetRow } from './targetRow.ts';
import { LARGE, matrixFlops, SMALL, type TrainCase } from './trainCase.ts';

type Suites<R> = readonly Suite<R>[];

function ratio<R extends { readonly engine: string }>(
  suites: Suites<R>,
  name: string,
  peers: readonly string[],
  ms: (one: R) => number,
): Pick<TargetRow, 'value' | 'note'> {
  const suite = suites.find((one) => one.name === name);
  const ours = suite?.results.find(({ engine }) => engine === OURS);
  if (!suite || !ours) return { value: undefined, note: 'not measured in this run' };
  const ratios = Object.entries(ratiosOf(suite.results, ms)).filter(([peer]) => peers.includes(peer));
  const note = [
    `${digits(ms(ours))} ms`,
    ...ratios.map(([peer, times]) => `${peer} ${digits(times * ms(ours))} ms`),
  ].join(', ');
  if (ratios.length === 0) return { value: undefined, note: `${note}; no peer ran` };
  // Against several peers, the fastest of them.
  return { value: Math.min(...ratios.map(([, times]) => times)), note };
}

/** The table of targets for the kind of adapter that was measured. */
export function targetRows(report: BenchReport): TargetRow[] {
  const { software, steps, matmuls, decodes, coldStart } = report;
  const at = <T>(soft: T, hard: T) => (software ? soft : hard);
  const step = (name: string, peers: string[]) => ratio(steps, name, peers, ({ medianMs }) => medianMs);
  const product = (name: string, peers: string[]) => ratio(matmuls, name, peers, ({ bestMs }) => bestMs);
  const times = (
    what: string,
    target: number | undefined,
    from: Pick<TargetRow, 'value' | 'note'>,
  ): TargetRow => ({
    what,
    unit: '×',
    target,
    less: false,
    ...from,
  });
  const size = at('1024', '4096');
  return [
    times('train step, small, against jax-js', at(3, 15), step(SMALL.name, ['jax-js'])),
    times('train step, small, against tfjs', undefined, step(SMALL.name, ['tfjs'])),
    times(
      'train step, small, against eager PyTorch f32',
      at(undefined, 1.5),
      againstTorch(report, SMALL.name),
    ),
    times(
      'train step, larger, against eager PyTorch f32',
      at(undefined, 1),
      againstTorch(report, LARGE.name),
    ),
    times('LoRA step on 4 bits against PyTorch + PEFT f32', at(undefined, 1.3), againstTorch(report, 'lora')),
    times(
      `f32 product ${size}³ against tfjs, onnxruntime-web and jax-js`,
      at(2, 1.4),
      product(`f32 ${size}³`, ['tfjs', 'onnxruntime-web', 'jax-js']),
    ),
    times(
      `4-bit product ${size}³ against onnxruntime-web`,
      at(1.15, 1.5),
      product(`4-bit ${size}³`, ['onnxruntime-web']),
    ),
    {
      what: 'train step: matrix work at our best rate',
      unit: '%',
      target: at(60, 50),
      less: false,
      ...share(report),
    },
    times(
      'greedy generation against onnxruntime-web',
      at(1.5, undefined),
      ratio(decodes, decodes[0]?.name ?? '', ['onnxruntime-web'], ({ msPerToken }) => msPerToken),
    ),
    {
      what: 'greedy generation',
      unit: 'tokens/s',
      target: at(undefined, 340),
      less: false,
      ...tokens(report),
    },
    {
      what: 'cold start to the first step, small',
      unit: 's',
      target: at(10, 2),
      less: true,
      value: coldStart === undefined ? undefined : coldStart.ms / 1000,
      note: coldStart === undefined ? 'not measured in this run' : `${coldStart.pipelines} pipelines`,
    },
    { what: 'JavaScript a step of 150 dispatches', unit: 'ms', target: 1, less: true, ...jsTime(report) },
  ];
}

function againstTorch({ steps, torch }: BenchReport, name: string): Pick<TargetRow, 'value' | 'note'> {
  const ours = steps.find((one) => one.name === name)?.results.find(({ engine }) => engine === OURS);
  if (!ours) return { value: undefined, note: torch.reason ?? 'not measured in this run' };
  const mine = `${digits(ours.medianMs)} ms`;
  const theirs = torch.ms[name];
  if (theirs === undefined)
    return { value: undefined, note: `${mine}; ${torch.reason ?? 'PyTorch was not measured'}` };
  return { value: theirs / ours.medianMs, note: `${mine}, PyTorch ${digits(theirs)} ms` };
}

/** What the matrix products of a step would take at the best rate of any product measured, over what the step took. */
function share({ steps, matmuls, software }: BenchReport): Pick<TargetRow, 'value' | 'note'> {
  const trainCase: TrainCase = software ? SMALL : LARGE;
  const ours = (suite: Suite<StepResult> | Suite<MatmulResult> | undefined) =>
    suite?.results.find(({ engine }) => engine === OURS);
  const step = ours(steps.find(({ name }) => name === trainCase.name)) as StepResult | undefined;
  const rates = matmuls.flatMap((suite) => ours(suite)?.gflops ?? []);
  if (!step || rates.length === 0) return { value: undefined, note: 'needs the train step and the products' };
  const best = Math.max(...rates);
  const rate = matrixFlops(trainCase) / step.medianMs / 1e6;
  const note = `${digits(rate)} of ${digits(best)} GFLOP/s, step "${trainCase.name}"`;
  if (rate > best)
    return { value: undefined, note: `${note}: the machine was busy while products were timed` };
  return { value: (100 * rate) / best, note };
}

function tokens({ decodes }: BenchReport): Pick<TargetRow, 'value' | 'note'> {
  const ours = decodes[0]?.results.find(({ engine }) => engine === OURS);
  if (!ours) return { value: undefined, note: 'not measured in this run' };
  return { value: ours.tokensPerSecond, note: decodes[0]?.name ?? '' };
}

function jsTime({ steps }: BenchReport): Pick<TargetRow, 'value' | 'note'> {
  const counts = steps[0]?.results.find(({ engine }) => engine === OURS)?.counts;
  const { jsMs, dispatches } = counts ?? {};
  if (jsMs === undefined || !dispatches) return { value: undefined, note: 'not measured in this run' };
  return { value: (150 * jsMs) / dispatches, note: `${digits(jsMs)} ms for ${dispatches} dispatches` };
}

/**
 * A test double of the worker: the whole interface with deterministic data and no GPU. For tests, and in development
 * builds behind `?engine=fake`; production builds never contain it.
 */
import type { DeviceChoice } from '../../pipeline/deviceChoice.ts';
import type {
  DeviceReport,
  Engine,
  Message,
  NextToken,
  Report,
  RunCommand,
  RunEvent,
  StageName,
} from '../../pipeline/protocol.ts';
import type { Recipe } from '../../pipeline/recipe.ts';
import { AlloyError } from '../../util/errors.ts';
import {
  domains,
  fakeAlignment,
  fakeAnswer,
  fakeHeldout,
  fakeMerge,
  fakeModels,
  fakeRecipe,
  fakeRows,
  fakeSummary,
  fakeTokenize,
  fakeTrain,
  share,
} from './fakeData.ts';

import { fakeForecast } from './fakeForecast.ts';
import { createFakeHub } from './fakeHub.ts';

export interface Scenario {
  /** `processor`: there is no WebGPU, so it computes. */
  readonly device: 'ready' | 'processor' | 'none' | 'no-adapter' | 'small' | 'lost';
  /** Milliseconds of a training step. */
  readonly stepMs: number;
  /** Whether the store has a finished run of every recipe. */
  readonly kept: boolean;
  /** A part that rejects. */
  readonly failing: 'nothing' | 'models' | 'align' | 'fuse' | 'chat' | 'probe';
}

export const quickScenario: Scenario = {
  device: 'ready',
  stepMs: 0,
  kept: false,
  failing: 'nothing',
};

/** `?engine=fake&device=none&step=20&failing=align` */
export function scenarioFrom(query: URLSearchParams): Scenario {
  const pick = <T extends string>(name: string, allowed: readonly T[], fallback: T): T =>
    allowed.find((value) => value === query.get(name)) ?? fallback;
  return {
    device: pick('device', ['ready', 'processor', 'none', 'no-adapter', 'small', 'lost'], 'ready'),
    stepMs: Number(query.get('step') ?? 12),
    kept: query.get('kept') === '1',
    failing: pick('failing', ['nothing', 'models', 'align', 'fuse', 'chat', 'probe'], 'nothing'),
  };
}

const report: DeviceReport = {
  name: 'Test double',
  kind: 'webgpu',
  choice: 'auto',
  why: 'a GPU is there',
  ways: { webgpu: { usable: true, note: 'Test double' }, wasm: { usable: true } },
  software: false,
  features: ['shader-f16', 'subgroups'],
  bindingBytes: 2 ** 30,
  bufferBytes: 2 ** 31,
};

const processor: DeviceReport = {
  ...report,
  name: 'the processor (WebAssembly, 2 threads)',
  kind: 'wasm',
  why: 'this browser has no WebGPU',
  ways: {
    webgpu: { usable: false, note: 'this browser has no WebGPU' },
    wasm: { usable: true, note: 'WebAssembly, 2 threads' },
  },
  software: true,
  features: ['simd', 'threads'],
};

const nothing = (webgpu: string) =>
  `Nothing here can compute: ${webgpu}, and the processor's own device fails (This browser cannot run the kernels for the processor (WebAssembly with SIMD); update it).`;

/** What a choice leads to. */
function reportOf(device: Scenario['device'], choice: DeviceChoice): DeviceReport {
  if (device === 'processor') {
    const why = choice === 'webgpu' ? `the GPU was chosen, but ${processor.why}` : processor.why;
    return { ...processor, choice, why: choice === 'wasm' ? 'chosen by hand' : why };
  }
  if (choice === 'wasm') return { ...processor, choice, why: 'chosen by hand', ways: report.ways };
  return { ...report, choice, why: choice === 'webgpu' ? 'chosen by hand' : report.why };
}

const wait = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** An engine whose answers hang on its arguments alone. */
export function createFakeEngine(scenario: Scenario = quickScenario): Engine {
  let merge = fakeMerge('sce', fakeRecipe.sources);
  let interrupted = false;
  const hub = createFakeHub(scenario.stepMs);
  const control = createControl();
  const failIf = (part: Scenario['failing'], message: string) => {
    if (scenario.failing === part) throw new AlloyError('internal', message);
  };
  const drift = () =>
    merge.cells.reduce(
      (sum, cell) => sum + (cell.weight - cell.computed) * (0.4 - share(cell.layer, cell.matrix)),
      0,
    );

  return {
    open: async (choice = 'auto') => {
      await wait(scenario.stepMs * 4);
      if (scenario.device === 'none') {
        throw new AlloyError('no-webgpu', nothing('this browser has no WebGPU'));
      }
      if (scenario.device === 'no-adapter') {
        throw new AlloyError('no-webgpu', nothing('WebGPU found no graphics adapter'));
      }
      if (scenario.device === 'small') {
        throw new AlloyError(
          'no-webgpu',
          nothing('This adapter binds at most 64 MiB (maxStorageBufferBindingSize); Alloy needs 128 MiB'),
        );
      }
      return reportOf(scenario.device, choice);
    },
    deviceLost: () =>
      scenario.device === 'lost'
        ? wait(900).then(() => 'the driver was reset')
        : new Promise<string>(() => {}),
    memory: async () => ({ bytes: 148_000_000, peakBytes: 196_000_000 }),
    planMemory: async (recipe) => fakeForecast(recipe),
    models: async () => {
      failIf('models', 'models/index.json could not be read; reload the page.');
      return [...fakeModels, ...hub.cards()];
    },
    sample: async () => ({ recipe: fakeRecipe, train: fakeTrain, heldout: fakeHeldout }),
    tokenize: async (model, text) => fakeTokenize(model, text),
    align: async ({ pivot }, source, conversation) => {
      await wait(scenario.stepMs * 8);
      failIf('align', 'tokenizer.json of fauna-3m: the model type "Unigram2" is unknown.');
      return fakeAlignment(pivot, source, conversation);
    },
    fuse: async (recipe, onEvent) => {
      control.reset(onEvent);
      const listen = (event: RunEvent) => {
        if (event.kind === 'merged') merge = fakeMerge(recipe.merge.method, recipe.sources);
        onEvent(event);
      };
      return fakeRun(recipe, listen, control, scenario);
    },
    reopen: async (recipe, onEvent) => {
      await wait(scenario.stepMs * 4);
      if (!scenario.kept) return false;
      merge = fakeMerge(recipe.merge.method, recipe.sources);
      fakeKept(recipe, onEvent);
      return true;
    },
    checkRecipe: async (recipe) => recipe,
    command: async (command) => control.take(command),
    mergeView: async () => {
      await wait(scenario.stepMs);
      return merge;
    },
    setWeights: async (cells) => {
      const changed = new Map(
        cells.map((cell) => [`${cell.source} ${cell.layer} ${cell.matrix}`, cell.weight]),
      );
      merge = {
        ...merge,
        cells: merge.cells.map((cell) => ({
          ...cell,
          weight: changed.get(`${cell.source} ${cell.layer} ${cell.matrix}`) ?? cell.weight,
        })),
      };
    },
    setMethod: async (method) => {
      merge = fakeMerge(method, merge.sources);
      return merge;
    },
    probe: async () => {
      await wait(scenario.stepMs * 3);
      failIf('probe', 'The probe produced numbers that are not finite; reset the weights.');
      return { nllPerByte: 0.2143 + 0.004 * Math.abs(drift()), ms: 38.4 };
    },
    chat: async (model, messages, _sampling, onToken) => {
      interrupted = false;
      failIf('chat', 'The model wrote numbers that are not finite; reset the merge weights.');
      const answer = fakeAnswer(model, messages.at(-1)?.content ?? '');
      const pieces = fakeTokenize('pivot-1m', answer);
      let text = '';
      let count = 0;
      for (const piece of pieces) {
        await wait(scenario.stepMs * 2);
        if (interrupted) return { text, stop: 'interrupted', tokens: count, tokensPerSecond: 71.3 };
        text += piece.text;
        count++;
        onToken({ text: piece.text, probability: 0.25 + 0.75 * share(model, piece.text, count) });
      }
      return { text, stop: 'end', tokens: count, tokensPerSecond: 64 + 30 * share(model, 'speed') };
    },
    interrupt: async () => {
      interrupted = true;
    },
    nextTokens: async (_model, messages, count) => {
      await wait(scenario.stepMs);
      return fakeNext(messages, count, drift());
    },
    ...hub.engine,
  };
}

function fakeNext(messages: readonly Message[], count: number, drift: number): readonly NextToken[] {
  const question = messages.at(-1)?.content ?? '';
  const words = ['An', 'A', 'Take', 'In', 'Say', 'The', 'Perhaps', 'Some', 'It', 'Hello', 'Yes', 'Well'];
  const raw = words.map((text, index) => ({
    text,
    score: Math.exp(4 * share(question, text) + drift * (index % 3) * 0.8),
  }));
  const sum = raw.reduce((total, entry) => total + entry.score, 0);
  return raw
    .map(({ text, score }) => ({ text, probability: (0.97 * score) / sum }))
    .sort((a, b) => b.probability - a.probability)
    .slice(0, count);
}

interface Control {
  readonly reset: (onEvent: (event: RunEvent) => void) => void;
  readonly take: (command: RunCommand) => void;
  /** Waits while paused; `false` when the run is to stop. */
  readonly pass: (onEvent: (event: RunEvent) => void) => Promise<boolean>;
}

function createControl(): Control {
  let state: 'run' | 'pause' | 'stop' = 'run';
  let steps = 0;
  let wake: () => void = () => {};
  let tell: (event: RunEvent) => void = () => {};
  return {
    reset: (onEvent) => {
      state = 'run';
      steps = 0;
      tell = onEvent;
    },
    take: (command) => {
      if (command === 'pause' || command === 'step') tell({ kind: 'state', state: 'pausing' });
      if (command === 'step') steps++;
      else state = command === 'pause' ? 'pause' : command === 'stop' ? 'stop' : 'run';
      wake();
    },
    pass: async (onEvent) => {
      if (state === 'pause') {
        onEvent({ kind: 'state', state: 'paused' });
        while (state === 'pause' && steps === 0) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
        if (state === 'pause') steps--;
        else if (state === 'run') onEvent({ kind: 'state', state: 'running' });
      }
      return state !== 'stop';
    },
  };
}

async function fakeRun(
  recipe: Recipe,
  onEvent: (event: RunEvent) => void,
  control: Control,
  scenario: Scenario,
): Promise<'done' | 'stopped'> {
  const { stepMs } = scenario;
  const work = async (stage: 'represent' | 'align' | 'merge' | 'evaluate', label: string, count: number) => {
    const total = stepMs === 0 ? 3 : count;
    onEvent({ kind: 'stage', stage, label, cached: false });
    for (let done = 1; done <= total; done++) {
      if (!(await control.pass(onEvent))) return false;
      await wait(stepMs / 2);
      onEvent({ kind: 'progress', stage, label, done, total, secondsLeft: ((total - done) * stepMs) / 2000 });
    }
    return true;
  };
  // As in the pipeline, stages take turns: a model is read and evaluated while it is loaded.
  for (const model of [recipe.pivot, ...recipe.sources]) {
    if (!(await work('represent', model, 56))) return 'stopped';
    if (!(await work('evaluate', model, 12))) return 'stopped';
    if (model === recipe.pivot) continue;
    if (!(await work('align', model, 56))) return 'stopped';
    onEvent({ kind: 'alignment', summary: fakeSummary(model) });
  }
  const total =
    recipe.train.steps ?? Math.round((fakeTrain.length * recipe.train.epochs) / recipe.train.batch);
  for (const target of ['sft', ...recipe.sources]) {
    onEvent({ kind: 'stage', stage: 'distil', label: target, cached: false });
    for (let step = 1; step <= total; step++) {
      if (!(await control.pass(onEvent))) return 'stopped';
      await wait(stepMs);
      if (scenario.failing === 'fuse' && target !== 'sft' && step === 40) {
        throw new AlloyError(
          'out-of-memory',
          'The buffer "activations" needs 310 MiB but this adapter allows 256 MiB; choose a smaller batch.',
        );
      }
      const noise = 0.16 * (share(target, step, 'noise') - 0.5);
      const supervised = 0.55 + 1.9 * Math.exp(-step / (total * 0.2)) + noise;
      const distillation = target === 'sft' ? 0 : 0.8 + 1.4 * Math.exp(-step / (total * 0.3)) + 0.6 * noise;
      const { lambda } = recipe.fuse;
      onEvent({
        kind: 'loss',
        target,
        step,
        total: target === 'sft' ? supervised : lambda * supervised + (1 - lambda) * distillation,
        supervised,
        distillation,
        learningRate: recipe.train.learningRate * 0.5 * (1 + Math.cos((Math.PI * step) / total)),
      });
      const secondsLeft = ((total - step) * stepMs) / 1000;
      onEvent({ kind: 'progress', stage: 'distil', label: target, done: step, total, secondsLeft });
    }
  }
  if (!(await work('merge', recipe.merge.method, 6))) return 'stopped';
  for (const { model, role } of fakeRows('animals', recipe)) {
    if (role === 'pivot' || role === 'source') continue;
    if (!(await work('evaluate', model, 12))) return 'stopped';
  }
  onEvent({ kind: 'merged' });
  onEvent({ kind: 'report', report: fakeReport(recipe) });
  onEvent({ kind: 'done' });
  return 'done';
}

/** What a run tells of which everything is kept. */
function fakeKept(recipe: Recipe, onEvent: (event: RunEvent) => void): void {
  const stage = (name: StageName, label: string) =>
    onEvent({ kind: 'stage', stage: name, label, cached: name !== 'merge' });
  for (const model of [recipe.pivot, ...recipe.sources]) {
    stage('represent', model);
    stage('evaluate', model);
    if (model === recipe.pivot) continue;
    stage('align', model);
    onEvent({ kind: 'alignment', summary: fakeSummary(model) });
  }
  for (const target of ['sft', ...recipe.sources]) stage('distil', target);
  stage('merge', recipe.merge.method);
  for (const { model, role } of fakeRows('animals', recipe)) {
    if (role !== 'pivot' && role !== 'source') stage('evaluate', model);
  }
  onEvent({ kind: 'merged' });
  onEvent({ kind: 'report', report: fakeReport(recipe) });
  onEvent({ kind: 'done' });
}

export function fakeReport(recipe: Recipe): Report {
  return {
    recipe,
    suites: domains.map((suite) => {
      const conversations = suite === 'calendar' ? 5 : 32;
      return { suite, conversations, tooFew: conversations < 8, rows: fakeRows(suite, recipe) };
    }),
    seconds: 41.7,
    device: report.name,
    alignment: recipe.sources.map(fakeSummary),
    peakBytes: 196_000_000,
  };
}

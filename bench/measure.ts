import type { LoraCase } from './decodeCase.ts';
import type { MatmulCase } from './engine.ts';
import { expectedRow, matmulFlops } from './matmulCase.ts';
import { RemoteEngine } from './remoteEngine.ts';
import type { AskedEngine, Request } from './requests.ts';
import { SMALL, SMALL_LOSSES, stepFlops, type TrainCase } from './trainCase.ts';

/** What a train step is called among the results. */
function nameOf(stepCase: TrainCase | LoraCase): string {
  return 'rank' in stepCase ? 'lora' : stepCase.name;
}

export interface StepResult {
  readonly engine: string;
  /** From the first call to the first loss: tracing, pipelines and the step itself. */
  readonly firstMs: number;
  readonly medianMs: number;
  readonly bestMs: number;
  readonly gflops: number;
  /** Before each update, nats. */
  readonly losses: readonly number[];
  readonly counts: Readonly<Record<string, number>>;
}

export interface MatmulResult {
  readonly engine: string;
  readonly bestMs: number;
  readonly gflops: number;
  /** Largest difference of the first row from double precision, relative to its largest value. */
  readonly error: number;
}

/** What an engine could not do, with the reason. */
export interface Failure {
  readonly engine: string;
  readonly what: string;
  readonly reason: string;
}

export interface Suite<R> {
  readonly name: string;
  readonly results: readonly R[];
  readonly failures: readonly Failure[];
}

/** Losses of any two engines may differ by this much, nats. */
export const LOSS_TOLERANCE = 1e-4;
/** The same for the first row of a product, relative to its largest value. */
export const ROW_TOLERANCE = 1e-4;

const WARM_UP = 2;

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2;
}

/** Runs `work` for every engine that has not failed yet; a failure takes that engine out and is noted. */
async function eachAlive(
  alive: Set<AskedEngine>,
  failures: Failure[],
  what: string,
  work: (engine: AskedEngine) => Promise<void>,
): Promise<void> {
  for (const engine of [...alive]) {
    try {
      await work(engine);
    } catch (error) {
      alive.delete(engine);
      failures.push({ engine: engine.name, what, reason: (error as Error).message });
    }
  }
}

/**
 * Steps every engine in turn, one step each a round, so that whatever else the machine does falls on all of them alike.
 * At least four steps, for the losses; then rounds until `seconds` are over or `maxRounds` are done.
 */
export async function measureStep(
  engines: readonly AskedEngine[],
  stepCase: TrainCase | LoraCase,
  { seconds, maxRounds }: { seconds: number; maxRounds: number },
): Promise<Suite<StepResult>> {
  const failures: Failure[] = [];
  const alive = new Set(engines);
  const times = new Map<AskedEngine, number[]>(engines.map((engine) => [engine, []]));
  const losses = new Map<AskedEngine, number[]>(engines.map((engine) => [engine, []]));
  const counts = new Map<AskedEngine, Readonly<Record<string, number>>>();
  const firstMs = new Map<AskedEngine, number>();
  const step = async (engine: AskedEngine) => {
    const reply = await engine.ask({ kind: 'step' });
    times.get(engine)?.push(reply.ms);
    losses.get(engine)?.push(reply.loss ?? Number.NaN);
    counts.set(engine, reply.counts ?? {});
  };
  const name = nameOf(stepCase);
  const open: Request =
    'rank' in stepCase ? { kind: 'openLora', loraCase: stepCase } : { kind: 'openStep', trainCase: stepCase };
  await eachAlive(alive, failures, name, async (engine) => {
    const opened = await engine.ask(open);
    await step(engine);
    firstMs.set(engine, opened.ms + (times.get(engine)?.[0] ?? 0));
  });
  const started = performance.now();
  for (let round = 1; round < maxRounds + WARM_UP; round++) {
    if (round >= 2 * WARM_UP && performance.now() - started > seconds * 1000) break;
    await eachAlive(alive, failures, name, step);
  }
  const results = [...alive].map((engine): StepResult => {
    const timed = (times.get(engine) ?? []).slice(WARM_UP);
    const medianMs = median(timed);
    return {
      engine: engine.name,
      firstMs: firstMs.get(engine) ?? Number.NaN,
      medianMs,
      bestMs: Math.min(...timed),
      gflops: 'rank' in stepCase ? Number.NaN : stepFlops(stepCase) / medianMs / 1e6,
      losses: (losses.get(engine) ?? []).slice(0, 4),
      counts: counts.get(engine) ?? {},
    };
  });
  for (const { engine, losses } of results) {
    const expected = stepCase === SMALL ? SMALL_LOSSES : (results[0]?.losses ?? []);
    const off = losses.findIndex(
      (loss, index) => !(Math.abs(loss - (expected[index] ?? loss)) <= LOSS_TOLERANCE),
    );
    if (off >= 0) {
      const reason = `loss ${off + 1} is ${losses[off]?.toFixed(5)}, not ${expected[off]?.toFixed(5)}`;
      failures.push({ engine, what: name, reason });
    }
  }
  return { name, results, failures };
}

const BATCH_MS = 300;
const ROUNDS = 5;

/** Times products back to back, so many a batch that waiting for the GPU does not count; the best batch of each engine. */
export async function measureMatmul(
  engines: readonly AskedEngine[],
  matmulCase: MatmulCase,
): Promise<Suite<MatmulResult>> {
  const failures: Failure[] = [];
  const alive = new Set(engines);
  const batch = new Map<AskedEngine, number>();
  const best = new Map<AskedEngine, number>();
  const errors = new Map<AskedEngine, number>();
  const expected = expectedRow(matmulCase);
  const largest = expected.reduce((top, value) => Math.max(top, Math.abs(value)), 0);
  await eachAlive(alive, failures, matmulCase.name, async (engine) => {
    const { row = [] } = await engine.ask({ kind: 'openMatmul', matmulCase });
    const error = expected.reduce((worst, value, index) => {
      const difference = Math.abs(value - (row[index] ?? Number.NaN));
      return difference <= worst ? worst : difference;
    }, 0);
    errors.set(engine, error / largest);
    if (!(error / largest <= ROW_TOLERANCE)) throw new Error(`the product is wrong by ${error / largest}`);
    await engine.ask({ kind: 'run', count: 1 });
    const { ms } = await engine.ask({ kind: 'run', count: 1 });
    batch.set(engine, Math.max(1, Math.min(200, Math.round(BATCH_MS / ms))));
  });
  for (let round = 0; round < ROUNDS; round++) {
    await eachAlive(alive, failures, matmulCase.name, async (engine) => {
      const count = batch.get(engine) ?? 1;
      const { ms } = await engine.ask({ kind: 'run', count });
      best.set(engine, Math.min(best.get(engine) ?? Number.POSITIVE_INFINITY, ms / count));
    });
  }
  const results = [...alive].map((engine): MatmulResult => {
    const bestMs = best.get(engine) ?? Number.NaN;
    const gflops = matmulFlops(matmulCase) / bestMs / 1e6;
    return { engine: engine.name, bestMs, gflops, error: errors.get(engine) ?? Number.NaN };
  });
  return { name: matmulCase.name, results, failures };
}

/** Switches the drivers' shader caches off, each by its own word. */
const NO_CACHES = { MESA_SHADER_CACHE_DISABLE: 'true', __GL_SHADER_DISK_CACHE: '0' };

/** A process of its own: from opening the device to the first loss of a step, with nothing compiled before. */
export async function measureColdStart(
  program: string,
  name: string,
  trainCase: TrainCase,
): Promise<{ ms: number; pipelines: number }> {
  const engine = new RemoteEngine(program, name, { environment: NO_CACHES });
  try {
    const asked = [
      await engine.ask({ kind: 'open' }),
      await engine.ask({ kind: 'openStep', trainCase }),
      await engine.ask({ kind: 'step' }),
    ];
    const pipelines = asked.at(-1)?.counts?.pipelines ?? Number.NaN;
    return { ms: asked.reduce((sum, { ms }) => sum + ms, 0), pipelines };
  } finally {
    engine.close();
  }
}

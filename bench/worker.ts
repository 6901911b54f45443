/*
 * One engine in a process of its own: engines share no device, no cache and no global state, and one that crashes takes
 * nothing with it. It answers one request at a time.
 */
import type { DecodeCase, LoraCase } from './decodeCase.ts';
import type { BenchEngine, BestToken, DecodeRunner, MatmulCase, MatmulRunner, Stepper } from './engine.ts';
import { provideNavigatorGpu } from './navigatorGpu.ts';
import { type Target, targetOf } from './target.ts';
import type { TrainCase } from './trainCase.ts';
import type { KernelTime } from './watch.ts';

export const ENGINES: Readonly<Record<string, (target: Target) => Promise<BenchEngine>>> = {
  alloy: async (target) => (await import('./ours.ts')).openOurs(target),
  'jax-js': async ({ device }) => (await import('./peers/jaxjs.ts')).openJaxJs(device),
  tfjs: async () => (await import('./peers/tfjs.ts')).openTfjs(),
  'onnxruntime-web': async ({ device, threads }) =>
    device === 'webgpu'
      ? (await import('./peers/ort.ts')).openOrt()
      : (await import('./peers/ortWasm.ts')).openOrtWasm(threads),
};

/** The same engine on the same model with other weights, where that is faster. */
const VARIANTS: typeof ENGINES = {
  'onnxruntime-web, int8': async ({ threads }) =>
    (await import('./peers/ortWasm.ts')).openOrtWasm(threads, 'int8'),
  'onnxruntime-web, f32': async ({ threads }) =>
    (await import('./peers/ortWasm.ts')).openOrtWasm(threads, 'f32'),
};

export type Request =
  | { readonly kind: 'open' }
  | { readonly kind: 'openStep'; readonly trainCase: TrainCase }
  | { readonly kind: 'openLora'; readonly loraCase: LoraCase }
  | { readonly kind: 'openForward'; readonly decodeCase: DecodeCase }
  | { readonly kind: 'step' }
  | { readonly kind: 'openDecode'; readonly decodeCase: DecodeCase }
  | { readonly kind: 'decode'; readonly count: number }
  | { readonly kind: 'profile' }
  | { readonly kind: 'openMatmul'; readonly matmulCase: MatmulCase }
  | { readonly kind: 'run'; readonly count: number };

export interface Reply {
  readonly error?: string;
  readonly ms: number;
  /** `open` */
  readonly version?: string;
  /** `step` */
  readonly loss?: number;
  readonly counts?: Readonly<Record<string, number>>;
  /** `openDecode` */
  readonly best?: readonly BestToken[];
  readonly rounded?: boolean;
  /** `decode` */
  readonly ids?: readonly number[];
  /** `profile` */
  readonly kernels?: readonly KernelTime[];
  /** `openMatmul`: the first row of the product. */
  readonly row?: readonly number[];
}

/**
 * Serves requests from the parent process until it goes away.
 * @param on what it shall compute on; see `targetOf`
 */
export async function serveEngine(name: string, on: string | undefined): Promise<void> {
  const target = targetOf(on);
  let engine: BenchEngine | undefined;
  let stepper: Stepper | undefined;
  let runner: MatmulRunner | undefined;
  let decoder: DecodeRunner | undefined;

  async function handle(request: Request): Promise<Omit<Reply, 'ms'>> {
    switch (request.kind) {
      case 'open':
        if (target.device === 'webgpu') await provideNavigatorGpu();
        engine = await (ENGINES[name] ?? VARIANTS[name])?.(target);
        if (!engine) throw new Error(`there is no engine "${name}"`);
        return { version: engine.version };
      case 'openStep':
        stepper = await engine?.openStep?.(request.trainCase);
        return {};
      case 'openLora':
        stepper = await engine?.openLora?.(request.loraCase);
        return {};
      case 'openForward':
        stepper = await engine?.openForward?.(request.decodeCase);
        return {};
      case 'openDecode':
        decoder = await engine?.openDecode?.(request.decodeCase);
        return { best: decoder?.best ?? [], rounded: decoder?.rounded ?? false };
      case 'decode':
        if (!decoder) throw new Error(`${name} does not generate`);
        return { ids: await decoder.decode(request.count) };
      case 'profile':
        return { kernels: (await engine?.profile?.()) ?? [] };
      case 'step': {
        if (!stepper) throw new Error(`${name} has no train step`);
        const loss = await stepper.step();
        return { loss, ...(stepper.counts ? { counts: stepper.counts } : {}) };
      }
      case 'openMatmul':
        runner = await engine?.openMatmul?.(request.matmulCase);
        return { row: [...((await runner?.firstRow()) ?? [])] };
      case 'run':
        if (!runner) throw new Error(`${name} has no matrix product`);
        await runner.run(request.count);
        return {};
      default:
        return request satisfies never;
    }
  }

  process.on('disconnect', () => process.exit(0));
  process.on('message', (request: Request) => {
    const started = performance.now();
    handle(request)
      .catch((error: unknown) => ({ error: error instanceof Error ? error.message : String(error) }))
      .then((reply) => process.send?.({ ...reply, ms: performance.now() - started }));
  });
}

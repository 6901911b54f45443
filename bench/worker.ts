/*
 * One engine in a process of its own: engines share no device, no cache and no global state, and one that crashes takes
 * nothing with it.
 */
import type { BenchEngine } from './engine.ts';
import { provideNavigatorGpu } from './navigatorGpu.ts';
import { openDevice } from './ourDevice.ts';
import { answering, type Request } from './requests.ts';
import { type Target, targetOf } from './target.ts';

export const ENGINES: Readonly<Record<string, (target: Target) => Promise<BenchEngine>>> = {
  alloy: async (target) => (await import('./ours.ts')).ourEngine(await openDevice(target)),
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

/**
 * Serves requests from the parent process until it goes away.
 * @param on what it shall compute on; see `targetOf`
 */
export function serveEngine(name: string, on: string | undefined): void {
  const target = targetOf(on);
  const answer = answering(async () => {
    if (target.device === 'webgpu') await provideNavigatorGpu();
    const engine = await (ENGINES[name] ?? VARIANTS[name])?.(target);
    if (!engine) throw new Error(`there is no engine "${name}"`);
    return engine;
  });
  process.on('disconnect', () => process.exit(0));
  process.on('message', (request: Request) => answer(request).then((reply) => process.send?.(reply)));
}

import { openDawn } from '../src/device/webgpu/dawn.ts';

/** Gives this process the `navigator.gpu` of a browser: the peers look for it. */
export async function provideNavigatorGpu(): Promise<GPU> {
  const gpu = await openDawn();
  const navigator = { gpu, userAgent: 'Node', hardwareConcurrency: 1 };
  Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true });
  return gpu;
}

import { ensureKernels } from './kernels.mjs';

/**
 * Has the kernels of the WASM device compiled before anything is served, built or tested.
 * @returns {import('vite').Plugin}
 */
export function kernelsPlugin() {
  return {
    name: 'alloy:kernels',
    configResolved: ensureKernels,
  };
}

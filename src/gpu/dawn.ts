import { AlloyError } from '../util/errors.ts';
import type { Gpu } from './gpu.ts';
import { WebGpu } from './webGpu.ts';

/** Dawn's instance must outlive its devices: collected early, it takes the process down. */
let instance: GPU | undefined;

/** WebGPU without a browser: Dawn for Node (npm `webgpu`), with its globals put where a browser has them. */
export async function openDawn(): Promise<GPU> {
  const module = await import('webgpu').catch((cause) => {
    throw new AlloyError('no-webgpu', 'The npm package "webgpu" is not installed; run npm install.', {
      cause,
    });
  });
  Object.assign(globalThis, module.globals);
  instance ??= module.create([]) as unknown as GPU;
  return instance;
}

/** Opens the adapter that Dawn finds. @throws AlloyError `no-webgpu` */
export async function openDawnGpu(): Promise<Gpu> {
  const dawn = await openDawn();
  if (!(await dawn.requestAdapter())) {
    throw new AlloyError(
      'no-webgpu',
      "Dawn found no graphics adapter; install a Vulkan driver (without a GPU, Mesa's lavapipe: the Debian package mesa-vulkan-drivers).",
    );
  }
  return WebGpu.open(dawn);
}

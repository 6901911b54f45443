import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { setFlagsFromString } from 'node:v8';
import type { OnnxHost } from '../util/onnxHost.ts';

/**
 * onnxruntime-web in Node: its WebAssembly from the installed package, and the `navigator.gpu` that it looks for.
 * @param openGpu WebGPU's entry point, as a browser has it at `navigator.gpu`
 */
export function nodeOnnxHost(openGpu: () => Promise<unknown>): OnnxHost {
  return {
    async wasm() {
      const path = createRequire(import.meta.url).resolve(
        'onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm',
      );
      return new Uint8Array(await readFile(path));
    },
    async prepare(withGpu) {
      // V8 optimizes functions of the runtime for minutes, and everything waits (Node 20); only the hottest shall be.
      setFlagsFromString('--wasm-tiering-budget=1000000000');
      if (!withGpu) return;
      const gpu = await openGpu().catch(() => undefined);
      if (gpu === undefined || globalThis.navigator?.gpu !== undefined) return;
      const navigator = { gpu, userAgent: 'Node', hardwareConcurrency: 1 };
      Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true });
    },
  };
}

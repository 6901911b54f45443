import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { setFlagsFromString } from 'node:v8';
import { Worker } from 'node:worker_threads';
import { AlloyError } from '../../util/errors.ts';
import { hasRelaxedSimd } from './relaxedSimd.ts';
import { WasmDevice } from './wasmDevice.ts';
import { THREAD_SCRIPT, type WasmHost } from './wasmHost.ts';

/** Where the build puts the kernels. */
const FOLDER = new URL('../../../dist/kernels/', import.meta.url);

const SCRIPT = `
const { parentPort } = require('node:worker_threads');
const receive = (take) => parentPort.on('message', take);
const send = (message) => parentPort.postMessage(message);
${THREAD_SCRIPT}`;

/**
 * One module for all devices of the process: what V8 has optimized stays so, also where another runtime has told it since to
 * optimize less (`nodeOnnxHost.ts`).
 */
const compiled = new Map<string, Promise<WebAssembly.Module>>();

async function compile(href: string): Promise<WebAssembly.Module> {
  const bytes = await readFile(new URL(href)).catch((cause) => {
    throw new AlloyError(
      'missing-file',
      'The kernels for the processor have not been built; run npm run build.',
      { cause },
    );
  });
  return WebAssembly.compile(bytes);
}

/**
 * @param threads at most so many; 0 computes on the calling thread, as in a page that may not share memory
 * @param options.folder where the compiled kernels lie
 * @param options.relaxed whether they may use relaxed SIMD
 */
export function nodeWasmHost(
  threads = availableParallelism(),
  { folder = FOLDER, relaxed = true }: { readonly folder?: URL; readonly relaxed?: boolean } = {},
): WasmHost {
  return {
    threads,
    async kernels(shared) {
      // Node 20 has it behind a flag, a version before V8 lifted it; products take a fifth less time.
      if (relaxed && !hasRelaxedSimd()) setFlagsFromString('--experimental-wasm-relaxed-simd');
      const parts = ['kernels', shared && 'shared', relaxed && hasRelaxedSimd() && 'relaxed', 'wasm'];
      const { href } = new URL(parts.filter(Boolean).join('.'), folder);
      const module = compiled.get(href) ?? compile(href);
      compiled.set(href, module);
      module.catch(() => compiled.delete(href));
      return module;
    },
    spawn(start, { told, failed }) {
      const worker = new Worker(SCRIPT, { eval: true, name: 'alloy' });
      let ending = false;
      worker.on('message', told);
      worker.on('error', (error) => failed(error instanceof Error ? error.message : String(error)));
      worker.on('exit', (code) => {
        if (!ending) failed(`it stopped with code ${code}`);
      });
      // A device that nobody closed does not keep the process alive, only one that computes (`ThreadCrew`). Listening to
      // messages undoes it, so this comes after.
      worker.unref();
      worker.postMessage(start);
      return {
        join: () => worker.postMessage('join'),
        terminate() {
          ending = true;
          worker.terminate();
        },
      };
    },
    breathe: () => new Promise((resolve) => setImmediate(resolve)),
  };
}

/** The processor as a device, on all of its cores. */
export function openNodeWasm(): Promise<WasmDevice> {
  return WasmDevice.open(nodeWasmHost());
}

import { AlloyError } from '../../util/errors.ts';
import { hasRelaxedSimd } from './relaxedSimd.ts';
import { THREAD_SCRIPT, type ThreadMessage, type WasmHost } from './wasmHost.ts';

/** More would share no more than they wait for each other. */
const MOST_THREADS = 16;

/** Written out, so that the build finds all files; only the one that is needed is fetched. */
const kernelFiles = {
  shared: () => new URL('../../../dist/kernels/kernels.shared.wasm', import.meta.url),
  sharedRelaxed: () => new URL('../../../dist/kernels/kernels.shared.relaxed.wasm', import.meta.url),
  single: () => new URL('../../../dist/kernels/kernels.wasm', import.meta.url),
  singleRelaxed: () => new URL('../../../dist/kernels/kernels.relaxed.wasm', import.meta.url),
};

const SCRIPT = `
const receive = (take) => self.addEventListener('message', ({ data }) => take(data));
const send = (message) => self.postMessage(message);
${THREAD_SCRIPT}`;

/** A browser's worker, which starts threads as workers of its own. */
export function webWasmHost(): WasmHost {
  const alone = reasonForOneThread();
  const channel = new MessageChannel();
  const waiting: (() => void)[] = [];
  channel.port1.onmessage = () => waiting.shift()?.();
  return {
    threads: alone === undefined ? Math.min(MOST_THREADS, navigator.hardwareConcurrency || 2) : 0,
    alone,
    kernels(shared) {
      const { sharedRelaxed, singleRelaxed } = kernelFiles;
      if (shared) return compile(hasRelaxedSimd() ? sharedRelaxed() : kernelFiles.shared());
      return compile(hasRelaxedSimd() ? singleRelaxed() : kernelFiles.single());
    },
    spawn(start, { told, failed }) {
      const address = URL.createObjectURL(new Blob([SCRIPT], { type: 'text/javascript' }));
      const worker = new Worker(address, { name: 'alloy' });
      worker.addEventListener('message', ({ data }: MessageEvent<ThreadMessage>) => {
        // Loaded by now.
        URL.revokeObjectURL(address);
        told(data);
      });
      worker.addEventListener('error', (event) => {
        event.preventDefault();
        failed(event.message || 'its script was refused');
      });
      worker.addEventListener('messageerror', () => failed('a message could not be read'));
      worker.postMessage(start);
      return { join: () => worker.postMessage('join'), terminate: () => worker.terminate() };
    },
    breathe: () =>
      new Promise((resolve) => {
        waiting.push(resolve);
        channel.port2.postMessage(undefined);
      }),
  };
}

/** Half a sentence, for "one thread computes, since …"; undefined where there may be several. */
function reasonForOneThread(): string | undefined {
  if (typeof SharedArrayBuffer === 'undefined' || !globalThis.crossOriginIsolated)
    return 'the page is not cross-origin isolated';
  if (typeof Worker === 'undefined') return 'a worker of this browser cannot start others';
  if (navigator.hardwareConcurrency === 1) return 'there is one processor';
  return undefined;
}

/** @throws AlloyError `missing-file` where it cannot be fetched, `unsupported` where the browser does not know SIMD */
async function compile(file: URL): Promise<WebAssembly.Module> {
  const missing = (cause?: unknown) =>
    new AlloyError(
      'missing-file',
      `The kernels for the processor (${file.pathname.split('/').at(-1)}) cannot be fetched; reload the page.`,
      { cause },
    );
  const response = await fetch(file).catch((cause) => {
    throw missing(cause);
  });
  if (!response.ok) throw missing(`status ${response.status}`);
  const again = response.clone();
  try {
    return await WebAssembly.compileStreaming(response);
  } catch (error) {
    // A server that does not know the type is no reason; whether the bytes are good is seen next.
    if (!(error instanceof TypeError)) throw unsupported(error);
  }
  try {
    return await WebAssembly.compile(await again.arrayBuffer());
  } catch (error) {
    throw unsupported(error);
  }
}

function unsupported(cause: unknown): AlloyError {
  return new AlloyError(
    'unsupported',
    'This browser cannot run the kernels for the processor (WebAssembly with SIMD); update it.',
    { cause },
  );
}

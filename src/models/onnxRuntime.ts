/**
 * onnxruntime-web, loaded when the first ONNX model is: on the engine's own GPU device where that works, so that logits stay
 * there; else on a device of its own; else in WebAssembly on the CPU.
 */
import type { InferenceSession, Tensor } from 'onnxruntime-web/webgpu';
import type { Device } from '../device/device.ts';
import { onSharedDevice, sharedDevice } from '../device/webgpu/sharedDevice.ts';
import { AlloyError } from '../util/errors.ts';
import { type OnnxHost, onnxHost } from '../util/onnxHost.ts';

export type OnnxRuntime = typeof import('onnxruntime-web/webgpu');

/** Where a session runs, best first. */
export const ONNX_PLACES = ['shared', 'own', 'wasm'] as const;
export type OnnxPlace = (typeof ONNX_PLACES)[number];

const PLACE_WORDS: Readonly<Record<OnnxPlace, string>> = {
  shared: "on the engine's GPU device",
  own: 'on a GPU device of its own',
  wasm: 'on the CPU (WebAssembly)',
};

/** A model's bytes. */
export interface OnnxFiles {
  /** The file that errors name. */
  readonly name: string;
  readonly model: Uint8Array<ArrayBuffer>;
  readonly external: readonly { readonly path: string; readonly data: Uint8Array<ArrayBuffer> }[];
}

/** A model that the runtime has accepted. */
export interface OnnxSession {
  readonly place: OnnxPlace;
  /** Where it runs and, where that is not the best place, why. */
  readonly status: string;
  readonly runtime: OnnxRuntime;
  run(feeds: Readonly<Record<string, Tensor>>, output: string): Promise<Tensor>;
  release(): Promise<void>;
}

let loading: Promise<OnnxRuntime> | undefined;

/**
 * @param gpu whether it may run on a GPU
 * @throws AlloyError `unsupported` where nobody has provided a host; `internal` where the runtime cannot be fetched
 */
async function loadRuntime(gpu: boolean): Promise<OnnxRuntime> {
  const host = onnxHost();
  if (host === undefined)
    throw new AlloyError('unsupported', 'ONNX models cannot run here; use safetensors or a GGUF file.');
  await host.prepare?.(gpu);
  loading ??= load(host).catch((error) => {
    loading = undefined;
    throw error;
  });
  return loading;
}

async function load(host: OnnxHost): Promise<OnnxRuntime> {
  const runtime = await import('onnxruntime-web/webgpu');
  const { env } = runtime;
  const wasm = await host.wasm();
  if (typeof wasm === 'string') env.wasm.wasmPaths = { wasm };
  else env.wasm.wasmBinary = wasm;
  // More threads would need cross-origin isolation in a browser, and workers of another kind in Node.
  env.wasm.numThreads = 1;
  env.logLevel = 'error';
  return runtime;
}

function message(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replace(/\s+/gu, ' ').trim();
}

/** How the runtime says that it does not know an operator. */
const UNKNOWN_OPERATOR = [
  /No Op registered for (\S+)/u,
  /find an implementation for (\S+?)\(/u,
  /(\S+?)\(-?\d+\) is not a registered function\/op/u,
];

/** What no other place could run either. */
function refusal(name: string, error: unknown): AlloyError | undefined {
  const text = message(error);
  const operator = UNKNOWN_OPERATOR.map((pattern) => pattern.exec(text)?.[1]).find(
    (found) => found !== undefined,
  );
  if (operator === undefined) return undefined;
  return new AlloyError(
    'unsupported',
    `${name}: onnxruntime-web cannot run the operator ${operator} of this model; export it with standard operators, or use another variant.`,
    { cause: error },
  );
}

/**
 * Opens a session at the first place that can run it: every place is tried with `probe` before it is chosen.
 * @throws AlloyError `unsupported` naming an operator that is not known, `bad-file` where no place accepts the model
 */
export async function openOnnxSession(
  device: Device,
  files: OnnxFiles,
  options: {
    readonly places: readonly OnnxPlace[];
    /** The output that stays on the GPU. */
    readonly output: string;
    probe(session: OnnxSession): Promise<void>;
  },
): Promise<OnnxSession> {
  const runtime = await loadRuntime(options.places.some((place) => place !== 'wasm'));
  const failures: string[] = [];
  let cause: unknown;
  for (const place of options.places) {
    let session: OnnxSession | undefined;
    try {
      const status = `onnxruntime-web runs ${files.name} ${PLACE_WORDS[place]}${failures.length > 0 ? `; ${failures.join('; ')}` : ''}`;
      session = await openAt(runtime, device, files, { place, status, output: options.output });
      await options.probe(session);
      return session;
    } catch (error) {
      await session?.release().catch(() => undefined);
      const refused = error instanceof AlloyError ? error : refusal(files.name, error);
      if (refused) throw refused;
      cause = error;
      failures.push(`not ${PLACE_WORDS[place]}: ${message(error).slice(0, 160)}`);
    }
  }
  throw new AlloyError(
    'bad-file',
    `${files.name}: onnxruntime-web cannot run it (${failures.join('; ')}); get the file again, or use another variant.`,
    { cause },
  );
}

async function openAt(
  runtime: OnnxRuntime,
  device: Device,
  { model, external }: OnnxFiles,
  { place, status, output }: { place: OnnxPlace; status: string; output: string },
): Promise<OnnxSession> {
  const gpu = place === 'shared' ? sharedDevice(device) : undefined;
  if (place === 'shared' && gpu === undefined) throw new Error('there is no device to share');
  const options: InferenceSession.SessionOptions = {
    executionProviders: place === 'wasm' ? ['wasm'] : [gpu ? { name: 'webgpu', device: gpu } : 'webgpu'],
    logSeverityLevel: 3,
    ...(external.length > 0 && { externalData: [...external] }),
    ...(gpu && { preferredOutputLocation: { [output]: 'gpu-buffer' } }),
  };
  const guarded = <T>(job: () => Promise<T>) => (gpu ? onSharedDevice(gpu, job) : job());
  const session = await guarded(() => runtime.InferenceSession.create(model, options));
  let last: Promise<unknown> = Promise.resolve();
  return {
    place,
    status,
    runtime,
    run(feeds, name) {
      // The runtime takes one call at a time.
      const result = last.then(() => guarded(() => session.run(feeds, [name])));
      last = result.catch(() => undefined);
      return result.then((outputs) => {
        const tensor = outputs[name];
        if (tensor === undefined) throw new Error(`the model gave no ${name}`);
        return tensor;
      });
    },
    release: () => session.release(),
  };
}

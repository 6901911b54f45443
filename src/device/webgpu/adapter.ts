/** What WebGPU offers here, known without opening it. */
import { adapterName } from '../device.ts';

export interface AdapterFound {
  /** As a person would name it. */
  readonly name: string;
  /** The processor computes (lavapipe, SwiftShader, WARP). */
  readonly software: boolean;
}

/** A graphics process that was lost may leave a question without an answer. */
const ANSWER_MS = 15_000;

export const NO_ADAPTER = 'WebGPU found no graphics adapter';

/** Asks for an adapter. @returns it, or why there is none, as half a sentence */
export async function lookForAdapter(
  gpu: GPU | undefined = globalThis.navigator?.gpu,
): Promise<AdapterFound | string> {
  if (!gpu) return 'this browser has no WebGPU';
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silence = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve('WebGPU does not answer'), ANSWER_MS);
  });
  const adapter = gpu
    .requestAdapter({ powerPreference: 'high-performance' })
    .catch((error: unknown) => `WebGPU fails (${error instanceof Error ? error.message : String(error)})`);
  const found = await Promise.race([adapter, silence]);
  clearTimeout(timer);
  if (typeof found === 'string') return found;
  if (!found) return NO_ADAPTER;
  const { vendor, architecture, device: model, description } = found.info;
  return {
    name: adapterName({ vendor, architecture, model, description }),
    software: isSoftware(found.info),
  };
}

/** Whether the processor stands in for a GPU. */
export function isSoftware({
  vendor,
  architecture,
  description,
  isFallbackAdapter,
}: Pick<GPUAdapterInfo, 'vendor' | 'architecture' | 'description' | 'isFallbackAdapter'>): boolean {
  const words = `${vendor} ${architecture} ${description}`;
  return isFallbackAdapter || /llvmpipe|lavapipe|swiftshader|basic render|\bwarp\b|\bcpu\b/i.test(words);
}

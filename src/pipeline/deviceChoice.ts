/** Which device computes: a GPU where there is one, else the processor, or what a person chose. */
import type { Device } from '../device/device.ts';
import type { AdapterFound } from '../device/webgpu/adapter.ts';
import { AlloyError } from '../util/errors.ts';

export const DEVICE_CHOICES = ['auto', 'webgpu', 'wasm'] as const;
export type DeviceChoice = (typeof DEVICE_CHOICES)[number];
export type DeviceKind = Exclude<DeviceChoice, 'auto'>;

/** The processor's device also says why it computes on one thread. */
type Processor = Device & { readonly alone?: string | undefined };

/** How devices are had in one place: a browser's worker, or Node. */
export interface DeviceWays {
  /** What WebGPU offers, or why nothing, as half a sentence. */
  look(): Promise<AdapterFound | string>;
  webgpu(): Promise<Device>;
  wasm(): Promise<Processor>;
}

/** Whether a kind of device can be had, and what there is to say about it, as half a sentence. */
export interface DeviceWay {
  readonly usable: boolean;
  readonly note?: string;
}

export interface ChosenDevice {
  readonly device: Device;
  readonly kind: DeviceKind;
  /** Why this one, as half a sentence: "this browser has no WebGPU", "chosen by hand". */
  readonly why: string;
  readonly ways: Readonly<Record<DeviceKind, DeviceWay>>;
}

export interface ChoiceOptions {
  /** A device that was asked for and cannot be had is an error; otherwise the other one takes its place. */
  readonly strict?: boolean;
}

const BY_HAND = 'chosen by hand';

/**
 * Opens the device that was chosen. `auto` takes a GPU where there is one; the processor's own device is faster than an
 * adapter that is software.
 * @throws AlloyError `no-webgpu` where no device can be had at all, or not the one that was asked for (`strict`)
 */
export async function openChosen(
  choice: DeviceChoice,
  ways: DeviceWays,
  { strict = false }: ChoiceOptions = {},
): Promise<ChosenDevice> {
  if (strict && choice === 'webgpu') {
    const device = await ways.webgpu();
    return {
      device,
      kind: 'webgpu',
      why: BY_HAND,
      ways: { webgpu: { usable: true }, wasm: { usable: true } },
    };
  }
  if (strict && choice === 'wasm') return processor(ways, BY_HAND, { usable: false });
  const found = await ways.look();
  if (choice === 'wasm') {
    return processor(ways, BY_HAND, wayOf(found)).catch((error: unknown) =>
      graphics(ways, found, `the processor was chosen, but ${reasonOf(error)}`, reasonOf(error)),
    );
  }
  if (typeof found === 'string') {
    const why = choice === 'webgpu' ? `the GPU was chosen, but ${found}` : found;
    return processor(ways, why, wayOf(found)).catch((error: unknown) => {
      throw neither(found, error);
    });
  }
  if (choice === 'auto' && found.software) {
    const why = `the only WebGPU adapter is software (${found.name}), on which the processor's own device is faster`;
    return processor(ways, why, wayOf(found)).catch((error: unknown) =>
      graphics(ways, found, `the processor's own device fails: ${reasonOf(error)}`, reasonOf(error)),
    );
  }
  const why = choice === 'webgpu' ? BY_HAND : 'a GPU is there';
  return graphics(ways, found, why).catch((error: unknown) => {
    const failed = reasonOf(error);
    return processor(ways, `the GPU cannot be used: ${failed}`, { usable: false, note: failed }).catch(
      (second: unknown) => {
        throw neither(failed, second);
      },
    );
  });
}

async function graphics(
  ways: DeviceWays,
  found: AdapterFound | string,
  why: string,
  processorFails?: string,
): Promise<ChosenDevice> {
  if (typeof found === 'string') throw neither(found, new Error(processorFails));
  const device = await ways.webgpu();
  const wasm: DeviceWay = processorFails ? { usable: false, note: processorFails } : { usable: true };
  return { device, kind: 'webgpu', why, ways: { webgpu: wayOf(found), wasm } };
}

async function processor(ways: DeviceWays, why: string, webgpu: DeviceWay): Promise<ChosenDevice> {
  const device = await ways.wasm();
  const { alone } = device;
  return {
    device,
    kind: 'wasm',
    why: alone === undefined ? why : `${why}; on one thread, since ${alone}`,
    ways: { webgpu, wasm: { usable: true, note: inBrackets(device.info.description) } },
  };
}

/** "the processor (WebAssembly, 2 threads)" says twice what is known already. */
const inBrackets = (description: string) => /\((.*)\)$/u.exec(description)?.[1] ?? description;

function wayOf(found: AdapterFound | string): DeviceWay {
  if (typeof found === 'string') return { usable: false, note: found };
  return { usable: true, note: found.software ? `${found.name}, software and slow` : found.name };
}

function neither(webgpu: string, error: unknown): AlloyError {
  const processor = reasonOf(error);
  return new AlloyError(
    'no-webgpu',
    `Nothing here can compute: ${webgpu}, and the processor's own device fails (${processor}).`,
    { cause: error },
  );
}

/** An error's sentence inside another one. */
function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replace(/[.\s]+$/u, '');
}

/** What an engine shall compute on. */
export interface Target {
  readonly device: 'webgpu' | 'wasm';
  /** Of the processor, for `wasm`. */
  readonly threads: number;
}

export const WEBGPU: Target = { device: 'webgpu', threads: 1 };

export const wasmOn = (threads: number): Target => ({ device: 'wasm', threads });

/** As an engine's process is told it: `webgpu`, `wasm:2`. */
export const targetName = ({ device, threads }: Target) =>
  device === 'webgpu' ? device : `${device}:${threads}`;

export function targetOf(name = 'webgpu'): Target {
  const [device, threads = '1'] = name.split(':');
  return device === 'wasm' ? wasmOn(Number(threads)) : WEBGPU;
}

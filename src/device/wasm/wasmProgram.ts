import { AlloyError } from '../../util/errors.ts';
import { boundBuffers } from '../binding.ts';
import type { Program } from '../device.ts';
import type { DeviceBuffer } from '../deviceBuffer.ts';
import type { Dispatch } from '../kernel.ts';
import { addressOf } from './wasmBuffer.ts';
import { SLOTS, STEP_BYTES } from './wasmCrew.ts';
import type { WasmDevice } from './wasmDevice.ts';

/** A thread claims so small a part of a dispatch that all threads end at about the same time. */
const CLAIMS_A_THREAD = 8;

/** Dispatches as the crew reads them; see `src/kernels/assembly/crew.ts`. */
export class WasmProgram implements Program {
  readonly label: string;
  readonly dispatches: number;
  readonly #device: WasmDevice;
  readonly #names: readonly string[];
  #steps: DeviceBuffer | undefined;

  constructor(device: WasmDevice, dispatches: readonly Dispatch<DeviceBuffer>[], label: string) {
    this.#device = device;
    this.label = label;
    this.dispatches = dispatches.length;
    this.#names = dispatches.map(({ kernel }) => kernel.name);
    const block = new DataView(new ArrayBuffer(Math.max(1, dispatches.length) * STEP_BYTES));
    dispatches.forEach((one, index) => {
      writeStep(device, one, new DataView(block.buffer, index * STEP_BYTES, STEP_BYTES));
    });
    this.#steps = device.createFrom(block, `${label}.params`);
  }

  submit(): void {
    this.#submitPart(0, this.dispatches);
  }

  async run(): Promise<void> {
    this.submit();
    await this.#device.throttle();
  }

  async profile(): Promise<{ kernel: string; ms: number }[]> {
    await this.#device.idle();
    const timings: { kernel: string; ms: number }[] = [];
    for (const [index, kernel] of this.#names.entries()) {
      const began = performance.now();
      this.#submitPart(index, 1);
      await this.#device.idle();
      timings.push({ kernel, ms: performance.now() - began });
    }
    return timings;
  }

  dispose(): void {
    if (this.#steps) this.#device.destroyBuffer(this.#steps);
    this.#steps = undefined;
  }

  #submitPart(first: number, count: number): void {
    if (!this.#steps) throw new AlloyError('internal', `the program "${this.label}" was disposed of`);
    if (count > 0) this.#device.submit(addressOf(this.#steps) + first * STEP_BYTES, count);
  }
}

function writeStep(device: WasmDevice, one: Dispatch<DeviceBuffer>, step: DataView): void {
  const { kernel, params, grid } = one;
  const number = device.kernels.numberOf(kernel);
  const pieces = Math.max(0, Math.ceil(kernel.wasm?.pieces(params, grid) ?? 0));
  const chunk = Math.max(1, Math.ceil(pieces / (CLAIMS_A_THREAD * device.threads)));
  [number, pieces, chunk].forEach((word, index) => {
    step.setUint32(index * 4, word, true);
  });
  let at = SLOTS;
  const put = (write: 'setUint32' | 'setInt32' | 'setFloat32', value: number) => {
    if (at + 4 > STEP_BYTES) throw new AlloyError('internal', `${kernel.name} has too many arguments`);
    step[write](at, value, true);
    at += 4;
  };
  for (const constant of kernel.wasm?.constants ?? []) put('setUint32', constant);
  for (const { buffer } of boundBuffers(one, device.limits)) put('setUint32', addressOf(buffer));
  for (const { name, type } of kernel.params) {
    const value = params[name];
    if (value === undefined)
      throw new AlloyError('internal', `${kernel.name}: the parameter "${name}" is missing`);
    put(type === 'f32' ? 'setFloat32' : type === 'i32' ? 'setInt32' : 'setUint32', value);
  }
}

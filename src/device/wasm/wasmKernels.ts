import { AlloyError } from '../../util/errors.ts';
import type { Kernel } from '../kernel.ts';

/** The exports of `src/kernels/assembly/crew.ts`. */
export interface CrewExports {
  readonly heapBase: WebAssembly.Global;
  readonly table: WebAssembly.Table;
  readonly call: (kernel: number, slots: number, from: number, to: number) => void;
  readonly keepScratch: (address: number) => void;
}

/** The functions of a compiled module, under the numbers that every thread gives them in its table. */
export class WasmKernels {
  readonly #numbers: ReadonlyMap<string, number>;

  /** @param first how many functions the table has before any is added */
  constructor(names: readonly string[], first: number) {
    this.#numbers = new Map(names.map((name, index) => [name, first + index]));
  }

  /** @throws AlloyError `internal` for a kernel that has no counterpart in WASM */
  numberOf(kernel: Kernel): number {
    const number = kernel.wasm === undefined ? undefined : this.#numbers.get(kernel.wasm.name);
    if (number !== undefined) return number;
    throw new AlloyError('internal', `${kernel.name} has no counterpart in WASM (${kernel.wasm?.name})`);
  }
}

/** Names of a module's functions, in the order of their numbers. */
export function functionNames(module: WebAssembly.Module): string[] {
  return WebAssembly.Module.exports(module)
    .filter(({ kind }) => kind === 'function')
    .map(({ name }) => name)
    .sort();
}

/** An instance on the calling thread. */
export function instantiate(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
): { exports: CrewExports; kernels: WasmKernels } {
  const instance = new WebAssembly.Instance(module, { env: { memory }, crew: { finished: () => undefined } });
  const exports = instance.exports as unknown as CrewExports & Record<string, unknown>;
  const names = functionNames(module);
  const first = exports.table.grow(names.length);
  names.forEach((name, index) => {
    exports.table.set(first + index, exports[name]);
  });
  return { exports, kernels: new WasmKernels(names, first) };
}

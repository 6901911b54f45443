import { formatBytes } from '../../util/bytes.ts';
import { AlloyError } from '../../util/errors.ts';

const PAGE_BYTES = 65_536;
/** What the kernels are compiled for: 2 GiB. Asked for less where the browser does not grant as many. */
const PAGES = [32_768, 16_384, 8_192] as const;
/** Of every range, so that slices of a buffer begin where vectors may. */
const ALIGNMENT = 256;

interface Range {
  readonly at: number;
  readonly bytes: number;
}

/**
 * Ranges of a WebAssembly memory, given out first fit and joined with their neighbours when they come back. The memory
 * grows when it must and never shrinks.
 */
export class WasmMemory {
  readonly memory: WebAssembly.Memory;
  readonly shared: boolean;
  readonly maximumBytes: number;
  /** In the order of their addresses; no two touch. */
  #free: Range[] = [];
  #taken = new Map<number, number>();
  /** Everything from here on was never used, so it is zero. */
  #untouched = PAGE_BYTES;

  private constructor(memory: WebAssembly.Memory, shared: boolean, pages: number) {
    this.memory = memory;
    this.shared = shared;
    this.maximumBytes = pages * PAGE_BYTES;
  }

  /**
   * @param pages how many there may be, from the most that is asked for to the least
   * @throws AlloyError `out-of-memory` where not even the least is granted
   */
  static open(shared: boolean, pages: readonly number[] = PAGES): WasmMemory {
    let refusal: unknown;
    for (const maximum of pages) {
      try {
        return new WasmMemory(new WebAssembly.Memory({ initial: 1, maximum, shared }), shared, maximum);
      } catch (error) {
        refusal = error;
      }
    }
    throw new AlloyError(
      'out-of-memory',
      'The browser grants no memory for computing; close other tabs and open this page again.',
      { cause: refusal },
    );
  }

  /** What the kernels' own data takes lies below; to be told before anything is given out. */
  reserve(bytes: number): void {
    this.#grow(bytes);
    this.#untouched = align(bytes);
  }

  /** @returns the address of `bytes` zeros @throws AlloyError `out-of-memory` */
  take(bytes: number, label: string): number {
    const size = align(Math.max(1, bytes));
    const index = this.#free.findIndex((one) => one.bytes >= size);
    const known = this.#free[index];
    let at = this.#untouched;
    if (known) {
      at = known.at;
      const rest = { at: at + size, bytes: known.bytes - size };
      this.#free.splice(index, 1, ...(rest.bytes > 0 ? [rest] : []));
      this.bytes(at, size).fill(0);
    } else {
      const last = this.#free.at(-1);
      if (last && last.at + last.bytes === at) at = last.at;
      if (!this.#grow(at + size)) throw this.#noRoom(bytes, label);
      if (at < this.#untouched) {
        this.#free.pop();
        this.bytes(at, this.#untouched - at).fill(0);
      }
      this.#untouched = at + size;
    }
    this.#taken.set(at, size);
    return at;
  }

  give(at: number): void {
    let bytes = this.#taken.get(at);
    if (bytes === undefined) return;
    this.#taken.delete(at);
    let from = at;
    let index = this.#free.findIndex((one) => one.at > at);
    if (index < 0) index = this.#free.length;
    const after = this.#free[index];
    if (after && after.at === at + bytes) {
      bytes += after.bytes;
      this.#free.splice(index, 1);
    }
    const before = this.#free[index - 1];
    if (before && before.at + before.bytes === at) {
      from = before.at;
      bytes += before.bytes;
      index--;
      this.#free.splice(index, 1);
    }
    this.#free.splice(index, 0, { at: from, bytes });
  }

  /** A view that is right until the memory grows. */
  bytes(at: number, bytes: number): Uint8Array {
    return new Uint8Array(this.memory.buffer, at, bytes);
  }

  words(at: number, count: number): Uint32Array {
    return new Uint32Array(this.memory.buffer, at, count);
  }

  #grow(bytes: number): boolean {
    const missing = bytes - this.memory.buffer.byteLength;
    if (missing <= 0) return true;
    if (bytes > this.maximumBytes) return false;
    try {
      this.memory.grow(Math.ceil(missing / PAGE_BYTES));
      return true;
    } catch {
      return false;
    }
  }

  #noRoom(bytes: number, label: string): AlloyError {
    const taken = formatBytes([...this.#taken.values()].reduce((sum, size) => sum + size, 0));
    return new AlloyError(
      'out-of-memory',
      `There is no room for "${label}" (${formatBytes(bytes)} in one piece): the processor's memory for computing holds ${formatBytes(this.maximumBytes)} at most and ${taken} are in use; choose a smaller model, batch or context, or a device with a GPU.`,
    );
  }
}

function align(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

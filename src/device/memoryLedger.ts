import { formatBytes } from '../util/bytes.ts';
import { AlloyError } from '../util/errors.ts';

/** What memory on the device is for, in the order in which it is told. */
export const MEMORY_KINDS = [
  'weights',
  'adapters',
  'gradients',
  'optimizer',
  'activations',
  'logits',
  'cache',
  'scratch',
  'staging',
] as const;
export type MemoryKind = (typeof MEMORY_KINDS)[number];

export type MemoryParts = Readonly<Record<MemoryKind, number>>;

const NOTHING: MemoryParts = {
  weights: 0,
  adapters: 0,
  gradients: 0,
  optimizer: 0,
  activations: 0,
  logits: 0,
  cache: 0,
  scratch: 0,
  staging: 0,
};

/** Adds up what the buffers of a device take, by what they are for. */
export class MemoryLedger {
  readonly totalBytes: number;
  #parts: Record<MemoryKind, number> = { ...NOTHING };
  #bytes = 0;
  #peakBytes = 0;
  #peakParts: MemoryParts = NOTHING;

  /** @param totalBytes what may be taken at most */
  constructor(totalBytes = Number.POSITIVE_INFINITY) {
    this.totalBytes = totalBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get peakBytes(): number {
    return this.#peakBytes;
  }

  get parts(): MemoryParts {
    return { ...this.#parts };
  }

  /** What was there when it was most. */
  get peakParts(): MemoryParts {
    return this.#peakParts;
  }

  /** @throws AlloyError `out-of-memory` beyond what may be taken; nothing is counted then */
  add(kind: MemoryKind, bytes: number, label: string): void {
    if (this.#bytes + bytes > this.totalBytes) {
      throw new AlloyError(
        'out-of-memory',
        `The buffer "${label}" of ${formatBytes(bytes)} does not fit: ${formatBytes(this.#bytes)} of the ${formatBytes(this.totalBytes)} that may be used are taken; choose a smaller model, batch or context, or raise the limit.`,
      );
    }
    this.#parts[kind] += bytes;
    this.#bytes += bytes;
    if (this.#bytes <= this.#peakBytes) return;
    this.#peakBytes = this.#bytes;
    this.#peakParts = { ...this.#parts };
  }

  remove(kind: MemoryKind, bytes: number): void {
    this.#parts[kind] -= bytes;
    this.#bytes -= bytes;
  }

  /** Forgets the most so far: it begins anew with what is there now. */
  restartPeak(): void {
    this.#peakBytes = this.#bytes;
    this.#peakParts = { ...this.#parts };
  }
}

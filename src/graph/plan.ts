import type { DeviceBuffer } from '../gpu/deviceBuffer.ts';
import type { Gpu, Program } from '../gpu/gpu.ts';
import type { Dispatch } from '../gpu/kernel.ts';
import { required } from '../util/errors.ts';
import type { Tensor } from './tensor.ts';

interface Lifetime {
  readonly tensor: Tensor;
  readonly first: number;
  last: number;
}

interface Slot {
  bytes: number;
  readonly lifetimes: Lifetime[];
}

/** Where every value of a graph will lie. */
export interface Layout {
  /** Bytes of each slot. */
  readonly slots: readonly number[];
  readonly slotOf: ReadonlyMap<Tensor, number>;
  /** The largest sum of values alive at one dispatch: no layout can need less. */
  readonly lowerBoundBytes: number;
}

/** First and last dispatch that touches each value without a home. */
function lifetimesOf(dispatches: readonly Dispatch<Tensor>[]): Lifetime[] {
  const lifetimes = new Map<Tensor, Lifetime>();
  dispatches.forEach(({ buffers }, index) => {
    for (const tensor of Object.values(buffers)) {
      if (tensor.home) continue;
      const known = lifetimes.get(tensor);
      if (known) known.last = index;
      else lifetimes.set(tensor, { tensor, first: index, last: index });
    }
  });
  return [...lifetimes.values()];
}

function overlaps(a: Lifetime, b: Lifetime): boolean {
  return a.first <= b.last && b.first <= a.last;
}

/**
 * Shares slots between values that are never alive together: largest first, each into the slot whose size it wastes
 * least (greedy by size, Pisarchyk & Lee, arXiv 2001.03288). `keep` are read after the run and share with nobody.
 */
export function layOut(dispatches: readonly Dispatch<Tensor>[], keep: readonly Tensor[] = []): Layout {
  const lifetimes = lifetimesOf(dispatches);
  for (const lifetime of lifetimes) if (keep.includes(lifetime.tensor)) lifetime.last = dispatches.length;
  const slots: Slot[] = [];
  const slotOf = new Map<Tensor, number>();
  for (const lifetime of [...lifetimes].sort(
    (a, b) => b.tensor.bytes - a.tensor.bytes || a.first - b.first,
  )) {
    let best = -1;
    slots.forEach((slot, index) => {
      if (slot.lifetimes.some((other) => overlaps(other, lifetime))) return;
      if (best < 0 || slot.bytes < required(slots[best], 'slot').bytes) best = index;
    });
    if (best < 0) best = slots.push({ bytes: lifetime.tensor.bytes, lifetimes: [] }) - 1;
    required(slots[best], 'slot').lifetimes.push(lifetime);
    slotOf.set(lifetime.tensor, best);
  }
  return {
    slots: slots.map((slot) => slot.bytes),
    slotOf,
    lowerBoundBytes: peak(lifetimes, dispatches.length),
  };
}

function peak(lifetimes: readonly Lifetime[], length: number): number {
  const change = new Float64Array(length + 2);
  for (const { tensor, first, last } of lifetimes) {
    change[first] = (change[first] ?? 0) + tensor.bytes;
    change[last + 1] = (change[last + 1] ?? 0) - tensor.bytes;
  }
  let alive = 0;
  let most = 0;
  for (const step of change) {
    alive += step;
    most = Math.max(most, alive);
  }
  return most;
}

/** Slot buffers that several programs of one job share: they never run at the same time. */
export class SlotPool {
  #gpu: Gpu;
  #buffers: DeviceBuffer[] = [];

  constructor(gpu: Gpu) {
    this.#gpu = gpu;
  }

  get bytes(): number {
    return this.#buffers.reduce((sum, buffer) => sum + buffer.bytes, 0);
  }

  /** Buffers of at least these sizes, reused between calls. */
  take(sizes: readonly number[]): DeviceBuffer[] {
    const free = [...this.#buffers].sort((a, b) => a.bytes - b.bytes);
    const taken = new Array<DeviceBuffer>(sizes.length);
    const order = sizes.map((bytes, index) => ({ bytes, index })).sort((a, b) => b.bytes - a.bytes);
    for (const { bytes, index } of order) {
      const fit = free.findIndex((buffer) => buffer.bytes >= bytes);
      if (fit >= 0) {
        taken[index] = required(free.splice(fit, 1)[0], 'buffer');
        continue;
      }
      const made = this.#gpu.createBuffer(bytes, `slot ${this.#buffers.length}`);
      this.#buffers.push(made);
      taken[index] = made;
    }
    return taken;
  }

  dispose(): void {
    for (const buffer of this.#buffers) this.#gpu.destroyBuffer(buffer);
    this.#buffers = [];
  }
}

/** A graph that is ready to be replayed. */
export interface Planned {
  readonly program: Program;
  readonly slotBytes: number;
  readonly lowerBoundBytes: number;
  /** The buffer behind a value, for reading results (name it in `keep`). */
  bufferOf(tensor: Tensor): DeviceBuffer;
}

/** Gives every value a buffer and records the dispatches for replay. */
export function plan(
  gpu: Gpu,
  dispatches: readonly Dispatch<Tensor>[],
  options: { readonly label: string; readonly pool: SlotPool; readonly keep?: readonly Tensor[] },
): Planned {
  const layout = layOut(dispatches, options.keep);
  const buffers = options.pool.take(layout.slots);
  const bufferOf = (tensor: Tensor): DeviceBuffer => {
    if (tensor.home) return tensor.home;
    const slot = required(layout.slotOf.get(tensor), `the slot of ${tensor.name}`);
    return required(buffers[slot], `slot ${slot}`).slice(0, Math.max(tensor.bytes, 4), tensor.name);
  };
  const bound = dispatches.map((one) => ({
    ...one,
    buffers: Object.fromEntries(
      Object.entries(one.buffers).map(([name, tensor]) => [name, bufferOf(tensor)]),
    ),
  }));
  return {
    program: gpu.record(bound, options.label),
    slotBytes: layout.slots.reduce((sum, bytes) => sum + bytes, 0),
    lowerBoundBytes: layout.lowerBoundBytes,
    bufferOf,
  };
}

import type { Device, Program } from '../device/device.ts';
import type { DeviceBuffer } from '../device/deviceBuffer.ts';
import type { Dispatch } from '../device/kernel.ts';
import type { MemoryKind } from '../device/memoryLedger.ts';
import { retile, tilesOf } from '../kernels/matmulTiles.ts';
import { required } from '../util/errors.ts';
import type { Tensor } from './tensor.ts';

interface Lifetime {
  readonly tensor: Tensor;
  readonly first: number;
  last: number;
}

interface Slot {
  bytes: number;
  readonly kind: MemoryKind;
  readonly lifetimes: Lifetime[];
}

/** Where every value of a graph will lie. */
export interface Layout {
  /** Bytes of each slot. */
  readonly slots: readonly number[];
  /** What the largest value of each slot is. */
  readonly kinds: readonly MemoryKind[];
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
    if (best < 0)
      best = slots.push({ bytes: lifetime.tensor.bytes, kind: kindOf(lifetime.tensor), lifetimes: [] }) - 1;
    required(slots[best], 'slot').lifetimes.push(lifetime);
    slotOf.set(lifetime.tensor, best);
  }
  return {
    slots: slots.map((slot) => slot.bytes),
    kinds: slots.map((slot) => slot.kind),
    slotOf,
    lowerBoundBytes: peak(lifetimes, dispatches.length),
  };
}

function kindOf({ name }: Tensor): MemoryKind {
  return name === 'logits' ? 'logits' : 'activations';
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
  #device: Device;
  readonly #buffers: DeviceBuffer[] = [];

  constructor(device: Device) {
    this.#device = device;
  }

  get bytes(): number {
    return this.#buffers.reduce((sum, buffer) => sum + buffer.bytes, 0);
  }

  /** How many buffers it has; see `shrink`. */
  get count(): number {
    return this.#buffers.length;
  }

  /** Buffers of at least these sizes, reused between calls. Where there is no room for all, none is made. */
  take(sizes: readonly number[], kinds: readonly MemoryKind[] = []): DeviceBuffer[] {
    const before = this.count;
    try {
      return this.#take(sizes, kinds);
    } catch (error) {
      this.shrink(before);
      throw error;
    }
  }

  /** Gives back the buffers made last, until there are `count`. */
  shrink(count: number): void {
    for (const buffer of this.#buffers.splice(count)) this.#device.destroyBuffer(buffer);
  }

  #take(sizes: readonly number[], kinds: readonly MemoryKind[]): DeviceBuffer[] {
    const free = [...this.#buffers].sort((a, b) => a.bytes - b.bytes);
    const taken = new Array<DeviceBuffer>(sizes.length);
    const order = sizes.map((bytes, index) => ({ bytes, index })).sort((a, b) => b.bytes - a.bytes);
    for (const { bytes, index } of order) {
      const fit = free.findIndex((buffer) => buffer.bytes >= bytes);
      if (fit >= 0) {
        taken[index] = required(free.splice(fit, 1)[0], 'buffer');
        continue;
      }
      const made = this.#device.createBuffer(bytes, `slot ${this.count}`, kinds[index] ?? 'activations');
      this.#buffers.push(made);
      taken[index] = made;
    }
    return taken;
  }

  dispose(): void {
    this.shrink(0);
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
  device: Device,
  dispatches: readonly Dispatch<Tensor>[],
  options: { readonly label: string; readonly pool: SlotPool; readonly keep?: readonly Tensor[] },
): Planned {
  const layout = layOut(dispatches, options.keep);
  const before = options.pool.count;
  const buffers = options.pool.take(layout.slots, layout.kinds);
  const bufferOf = (tensor: Tensor): DeviceBuffer => {
    if (tensor.home) return tensor.home;
    const slot = required(layout.slotOf.get(tensor), `the slot of ${tensor.name}`);
    return required(buffers[slot], `slot ${slot}`).slice(0, Math.max(tensor.bytes, 4), tensor.name);
  };
  const bound = retile(dispatches, tilesOf(device)).map((one) => ({
    ...one,
    buffers: Object.fromEntries(
      Object.entries(one.buffers).map(([name, tensor]) => [name, bufferOf(tensor)]),
    ),
  }));
  return {
    program: recorded(device, bound, options.label, () => options.pool.shrink(before)),
    slotBytes: layout.slots.reduce((sum, bytes) => sum + bytes, 0),
    lowerBoundBytes: layout.lowerBoundBytes,
    bufferOf,
  };
}

function recorded(
  device: Device,
  dispatches: readonly Dispatch<DeviceBuffer>[],
  label: string,
  onFailure: () => void,
): Program {
  try {
    return device.record(dispatches, label);
  } catch (error) {
    onFailure();
    throw error;
  }
}

import type { Device } from '../device/device.ts';
import type { DeviceBuffer } from '../device/deviceBuffer.ts';
import { tensorIn } from '../graph/graph.ts';
import type { RotaryTable } from '../graph/ops/rotate.ts';
import { dependsOnLength, ropeTable } from '../kernels/ropeFrequencies.ts';
import type { DecoderConfig, Rope } from './config.ts';

/**
 * The rotary tables of a config on the GPU, one a distinct rope, for positions `0 … positions − 1`. With the scalings
 * `dynamic` and `longrope` the angles depend on the length of the sequence, so that it must be told before it is computed.
 */
export class RotaryTables {
  readonly tables: ReadonlyMap<Rope, RotaryTable>;
  readonly #device: Device;
  readonly #positions: number;
  readonly #buffers = new Map<Rope, DeviceBuffer>();
  #length = 0;

  constructor(device: Device, config: DecoderConfig, positions: number) {
    this.#device = device;
    this.#positions = positions;
    const tables = new Map<Rope, RotaryTable>();
    for (const { rope } of config.layers) {
      if (!rope || tables.has(rope)) continue;
      const buffer = device.createFrom(ropeTable({ ...rope, positions }), 'rotary table');
      this.#buffers.set(rope, buffer);
      tables.set(rope, { table: tensorIn(buffer, 'rotary table', [positions, rope.rot]), rot: rope.rot });
    }
    this.tables = tables;
  }

  /**
   * Sets the angles for sequences of `length` tokens; those of positions beyond are as if the sequence ended there.
   * @returns whether angles of earlier positions have changed, so that keys in a cache no longer hold
   */
  setLength(length: number): boolean {
    const before = this.#length;
    if (length === before) return false;
    this.#length = length;
    let changed = false;
    for (const [rope, buffer] of this.#buffers) {
      if (!dependsOnLength(rope.scaling) || !angleLengthsDiffer(rope, before, length)) continue;
      this.#device.upload(buffer, ropeTable({ ...rope, positions: this.#positions, length }));
      changed = true;
    }
    return changed;
  }

  /**
   * Tells that a sequence in a cache grows to `length` tokens one by one. The keys of LongRoPE's short sequences do not
   * fit long ones: then the angles are set anew.
   * @returns whether the cache must be filled again
   */
  grow(length: number): boolean {
    const crosses = [...this.#buffers.keys()].some(
      ({ scaling }) =>
        scaling?.kind === 'longrope' &&
        this.#length <= scaling.originalPositions &&
        length > scaling.originalPositions,
    );
    return crosses && this.setLength(length);
  }

  dispose(): void {
    for (const buffer of this.#buffers.values()) this.#device.destroyBuffer(buffer);
  }
}

/** Whether sequences of these two lengths have other angles. */
function angleLengthsDiffer({ scaling }: Rope, a: number, b: number): boolean {
  if (scaling?.kind !== 'dynamic' && scaling?.kind !== 'longrope') return false;
  const { originalPositions } = scaling;
  if (scaling.kind === 'longrope') return a > originalPositions !== b > originalPositions;
  return Math.max(a, originalPositions) !== Math.max(b, originalPositions);
}

import type { DeviceBuffer } from '../gpu/deviceBuffer.ts';
import type { Gpu } from '../gpu/gpu.ts';
import { tensorIn } from '../graph/graph.ts';
import type { RotaryTable } from '../graph/ops/rotate.ts';
import { ropeTable } from '../kernels/rope.ts';
import type { DecoderConfig, Rope } from './config.ts';

/** The rotary tables of a config on the GPU, one a distinct rope, for positions `0 … positions − 1`. */
export class RotaryTables {
  readonly tables: ReadonlyMap<Rope, RotaryTable>;
  readonly #gpu: Gpu;
  readonly #buffers: DeviceBuffer[] = [];

  constructor(gpu: Gpu, config: DecoderConfig, positions: number) {
    this.#gpu = gpu;
    const tables = new Map<Rope, RotaryTable>();
    for (const { rope } of config.layers) {
      if (!rope || tables.has(rope)) continue;
      const { theta, rot, dim, scaling } = rope;
      const buffer = gpu.createFrom(
        ropeTable({ theta, rot, dim, positions, ...(scaling && { scaling }) }),
        'rotary table',
      );
      this.#buffers.push(buffer);
      tables.set(rope, { table: tensorIn(buffer, 'rotary table', [positions, rot]), rot });
    }
    this.tables = tables;
  }

  dispose(): void {
    for (const buffer of this.#buffers) this.#gpu.destroyBuffer(buffer);
  }
}

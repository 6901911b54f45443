import { AlloyError } from '../util/errors.ts';
import type { DeviceBuffer } from './deviceBuffer.ts';
import type { Gpu } from './gpu.ts';
import type { Dispatch } from './kernel.ts';

interface Step {
  readonly pipeline: GPUComputePipeline;
  readonly bindGroup: GPUBindGroup;
  readonly grid: readonly [number, number, number];
  readonly label: string;
}

/** How long one submit should keep the GPU busy: far from the browsers' watchdogs, long enough to hide its cost. */
const CHUNK_MS = 120;
const FIRST_CHUNK = 24;

/**
 * A list of dispatches with everything made beforehand, to be replayed. A submit is cut into chunks of about
 * `CHUNK_MS`, measured from earlier runs, so that no submit comes near a browser's watchdog.
 */
export class Program {
  readonly label: string;
  readonly dispatches: number;
  #gpu: Gpu;
  #steps: readonly Step[];
  #uniforms: GPUBuffer | undefined;
  #chunk = FIRST_CHUNK;
  #measuring = false;

  constructor(gpu: Gpu, dispatches: readonly Dispatch<DeviceBuffer>[], label: string) {
    this.#gpu = gpu;
    this.label = label;
    this.dispatches = dispatches.length;
    const stride = Math.max(256, gpu.device.limits.minUniformBufferOffsetAlignment);
    const blocks = new ArrayBuffer(Math.max(1, dispatches.length) * stride);
    dispatches.forEach((one, index) => {
      writeParams(one, new DataView(blocks, index * stride, stride));
    });
    const uniforms = gpu.makeBuffer({
      label: `${label}.params`,
      size: blocks.byteLength,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    });
    gpu.device.queue.writeBuffer(uniforms, 0, blocks);
    this.#uniforms = uniforms;
    this.#steps = dispatches.map((one, index) => recordStep(gpu, one, uniforms, index * stride));
  }

  /** Encodes and submits all dispatches; returns at once. */
  submit(): void {
    const started = performance.now();
    const { device } = this.#gpu;
    for (let from = 0; from < this.#steps.length; from += this.#chunk) {
      const encoder = device.createCommandEncoder({ label: this.label });
      const pass = encoder.beginComputePass({ label: this.label });
      let current: GPUComputePipeline | undefined;
      for (const step of this.#steps.slice(from, from + this.#chunk)) {
        if (step.pipeline !== current) pass.setPipeline(step.pipeline);
        current = step.pipeline;
        pass.setBindGroup(0, step.bindGroup);
        pass.dispatchWorkgroups(...step.grid);
      }
      pass.end();
      this.#gpu.submit(encoder.finish());
    }
    this.#adapt(started);
  }

  /** Submits and waits while more than two earlier runs are unfinished. */
  async run(): Promise<void> {
    this.submit();
    await this.#gpu.throttle();
  }

  /**
   * Milliseconds on the GPU for every dispatch, in order (needs `timestamp-query`); one pass a dispatch, so slower
   * than a run.
   */
  async profile(): Promise<{ kernel: string; ms: number }[]> {
    const { device } = this.#gpu;
    if (!this.#gpu.info.features.has('timestamp-query')) return [];
    const timings: { kernel: string; ms: number }[] = [];
    const batch = 512;
    for (let from = 0; from < this.#steps.length; from += batch) {
      const steps = this.#steps.slice(from, from + batch);
      const querySet = device.createQuerySet({ type: 'timestamp', count: steps.length * 2 });
      const resolved = this.#gpu.makeBuffer({
        size: steps.length * 16,
        usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
      });
      const staging = this.#gpu.makeBuffer({
        size: steps.length * 16,
        usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
      });
      const encoder = device.createCommandEncoder();
      steps.forEach((step, index) => {
        const pass = encoder.beginComputePass({
          timestampWrites: {
            querySet,
            beginningOfPassWriteIndex: 2 * index,
            endOfPassWriteIndex: 2 * index + 1,
          },
        });
        pass.setPipeline(step.pipeline);
        pass.setBindGroup(0, step.bindGroup);
        pass.dispatchWorkgroups(...step.grid);
        pass.end();
      });
      encoder.resolveQuerySet(querySet, 0, steps.length * 2, resolved, 0);
      encoder.copyBufferToBuffer(resolved, 0, staging, 0, steps.length * 16);
      this.#gpu.submit(encoder.finish());
      await staging.mapAsync(GPUMapMode.READ);
      const ticks = new BigUint64Array(staging.getMappedRange());
      steps.forEach((step, index) => {
        const begin = ticks[2 * index] ?? 0n;
        timings.push({ kernel: step.label, ms: Number((ticks[2 * index + 1] ?? 0n) - begin) / 1e6 });
      });
      for (const owned of [staging, resolved, querySet]) owned.destroy();
    }
    return timings;
  }

  /** Frees the parameters; the buffers of the dispatches belong to whoever made them. */
  dispose(): void {
    this.#uniforms?.destroy();
    this.#uniforms = undefined;
  }

  #adapt(started: number): void {
    if (this.#measuring || this.#steps.length === 0) return;
    this.#measuring = true;
    const done = this.#gpu.device.queue.onSubmittedWorkDone();
    done.then(
      () => {
        const msEach = (performance.now() - started) / this.#steps.length;
        this.#chunk = Math.max(
          1,
          Math.min(this.#steps.length, Math.floor(CHUNK_MS / Math.max(msEach, 1e-3))),
        );
        this.#measuring = false;
      },
      () => undefined,
    );
  }
}

function writeParams({ kernel, params }: Dispatch<DeviceBuffer>, block: DataView): void {
  kernel.params.forEach(({ name, type }, index) => {
    const value = params[name];
    if (value === undefined)
      throw new AlloyError('internal', `${kernel.name}: the parameter "${name}" is missing`);
    if (type === 'f32') block.setFloat32(index * 4, value, true);
    else if (type === 'i32') block.setInt32(index * 4, value, true);
    else block.setUint32(index * 4, value, true);
  });
}

function recordStep(
  gpu: Gpu,
  { kernel, buffers, grid }: Dispatch<DeviceBuffer>,
  uniforms: GPUBuffer,
  offset: number,
): Step {
  const { pipeline, layout } = gpu.pipeline(kernel);
  const bound = kernel.buffers.map(({ name, writable }) => {
    const buffer = buffers[name];
    if (!buffer) throw new AlloyError('internal', `${kernel.name}: the buffer "${name}" is missing`);
    return { buffer, writable };
  });
  bound.forEach((one, index) => {
    for (const other of bound.slice(index + 1))
      if (clash(one, other)) {
        throw new AlloyError(
          'internal',
          `${kernel.name}: "${one.buffer.label}" is bound more than once and written`,
        );
      }
  });
  const entries: GPUBindGroupEntry[] = bound.map(({ buffer }, binding) => ({
    binding,
    resource: { buffer: buffer.raw, offset: buffer.offset, size: Math.ceil(buffer.bytes / 4) * 4 },
  }));
  if (kernel.params.length > 0) {
    const size = Math.ceil((kernel.params.length * 4) / 16) * 16;
    entries.push({ binding: entries.length, resource: { buffer: uniforms, offset, size } });
  }
  gpu.stats.bindGroups++;
  return {
    pipeline,
    bindGroup: gpu.device.createBindGroup({ label: kernel.name, layout, entries }),
    grid,
    label: kernel.name,
  };
}

interface Bound {
  readonly buffer: DeviceBuffer;
  readonly writable: boolean;
}

/** WebGPU forbids reading and writing one buffer in a dispatch, and writing two ranges of it that overlap. */
function clash(a: Bound, b: Bound): boolean {
  if (a.buffer.raw !== b.buffer.raw || !(a.writable || b.writable)) return false;
  if (!(a.writable && b.writable)) return true;
  return (
    a.buffer.offset < b.buffer.offset + b.buffer.bytes && b.buffer.offset < a.buffer.offset + a.buffer.bytes
  );
}

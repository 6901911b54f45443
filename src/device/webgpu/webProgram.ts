import { AlloyError } from '../../util/errors.ts';
import { boundBuffers } from '../binding.ts';
import { PARAMS_BYTES, type Program } from '../device.ts';
import type { DeviceBuffer } from '../deviceBuffer.ts';
import type { Dispatch, Grid } from '../kernel.ts';
import { loopTurns } from './loopTurns.ts';
import { cutIntoSubmits, type DispatchCost, guessedWork, type Part, partsToTime } from './submitClock.ts';
import { gpuBufferOf } from './webBuffer.ts';
import type { WebGpuDevice } from './webGpuDevice.ts';

interface Step {
  readonly pipeline: GPUComputePipeline;
  readonly bindGroup: GPUBindGroup;
  readonly grid: Grid;
  readonly label: string;
  readonly countsGroups: boolean;
  /** Where a dispatch that is run in one piece begins. */
  readonly whole: GPUBindGroup;
  readonly turns: number;
  readonly cost: DispatchCost;
}

/** What is told to a pass about a part of a dispatch; undefined is what it has been told already. */
interface Command {
  readonly pipeline: GPUComputePipeline | undefined;
  readonly bindGroup: GPUBindGroup;
  /** Where the part begins. */
  readonly place: GPUBindGroup | undefined;
  readonly x: number;
  readonly y: number;
  readonly z: number;
}

interface Submit {
  readonly parts: readonly Part<Step>[];
  readonly commands: readonly Command[];
}

/** How the dispatches are cut, by what was known at a time. */
interface Plan {
  /** Of what the clock knew. */
  readonly version: number;
  /** How many runs it is for. */
  readonly runs: number;
  runsLeft: number;
  readonly submits: readonly Submit[];
  /** Parts that the next run times. */
  timed: ReadonlySet<Part<Step>>;
}

/** A plan that has proved itself serves twice as many runs as the one before, up to this. */
const MOST_RUNS = 16;
const NONE: ReadonlySet<Part<Step>> = new Set();
const FIRST: Grid = [0, 0, 0];

/**
 * Dispatches that are replayed in submits short enough for every watchdog: see `SubmitClock` for how they are cut. The
 * cuts change no bit.
 */
export class WebProgram implements Program {
  readonly label: string;
  readonly dispatches: number;
  #device: WebGpuDevice;
  #steps: readonly Step[];
  #uniforms: GPUBuffer | undefined;
  #plan: Plan | undefined;
  readonly #named: GPUCommandEncoderDescriptor;

  constructor(device: WebGpuDevice, dispatches: readonly Dispatch<DeviceBuffer>[], label: string) {
    this.#device = device;
    this.label = label;
    this.#named = { label };
    this.dispatches = dispatches.length;
    const stride = Math.max(PARAMS_BYTES, device.gpu.limits.minUniformBufferOffsetAlignment);
    const blocks = new ArrayBuffer(Math.max(1, dispatches.length) * stride);
    dispatches.forEach((one, index) => {
      writeParams(one, new DataView(blocks, index * stride, stride));
    });
    const usage = GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST;
    const uniforms = device.makeBuffer(
      { label: `${label}.params`, size: blocks.byteLength, usage },
      'scratch',
    );
    try {
      device.gpu.queue.writeBuffer(uniforms, 0, blocks);
      this.#steps = dispatches.map((one, index) => recordStep(device, one, uniforms, index * stride));
    } catch (error) {
      device.freeBuffer(uniforms);
      throw error;
    }
    this.#uniforms = uniforms;
  }

  /** @param atEnd adds commands behind the last dispatch, in its submit */
  submit(atEnd?: (encoder: GPUCommandEncoder) => void): void {
    const { gpu, clock } = this.#device;
    const { submits, timed } = this.#nextPlan();
    const stopwatch = timed.size > 0 ? this.#device.stopwatch() : undefined;
    for (const one of submits) {
      const encoder = gpu.createCommandEncoder(this.#named);
      const [part] = one.parts;
      const isTimed = stopwatch !== undefined && part !== undefined && timed.has(part);
      const timestampWrites = isTimed ? stopwatch.next(guessedWork(part)) : undefined;
      const pass = encoder.beginComputePass(timestampWrites && { timestampWrites });
      encode(pass, one.commands);
      pass.end();
      if (one === submits.at(-1)) atEnd?.(encoder);
      this.#device.submit(encoder.finish());
      const done = gpu.queue.onSubmittedWorkDone();
      clock.submitted(one.parts, done, isTimed && stopwatch.ofDevice);
      if (isTimed) stopwatch.submitted(done);
    }
    // A device that is lost meanwhile says so elsewhere.
    stopwatch?.finish().then(
      (times) => clock.learn(timed, times, stopwatch.ofDevice),
      () => clock.learn(timed, []),
    );
  }

  async run(): Promise<void> {
    this.submit();
    await this.#device.throttle();
  }

  async profile(): Promise<{ kernel: string; ms: number }[]> {
    const { gpu } = this.#device;
    if (!this.#device.info.features.has('timestamp-query')) return [];
    const timings: { kernel: string; ms: number }[] = [];
    const batch = 512;
    for (let from = 0; from < this.#steps.length; from += batch) {
      const steps = this.#steps.slice(from, from + batch);
      const querySet = gpu.createQuerySet({ type: 'timestamp', count: steps.length * 2 });
      const size = steps.length * 16;
      const resolved = this.#device.makeBuffer(
        { size, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC },
        'staging',
      );
      const staging = this.#device.makeBuffer(
        { size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST },
        'staging',
      );
      const encoder = gpu.createCommandEncoder();
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
        pass.setBindGroup(1, this.#part(step, FIRST));
        pass.dispatchWorkgroups(...step.grid);
        pass.end();
      });
      encoder.resolveQuerySet(querySet, 0, steps.length * 2, resolved, 0);
      encoder.copyBufferToBuffer(resolved, 0, staging, 0, steps.length * 16);
      this.#device.submit(encoder.finish());
      await staging.mapAsync(GPUMapMode.READ);
      const ticks = new BigUint64Array(staging.getMappedRange());
      steps.forEach((step, index) => {
        const begin = ticks[2 * index] ?? 0n;
        timings.push({ kernel: step.label, ms: Number((ticks[2 * index + 1] ?? 0n) - begin) / 1e6 });
      });
      querySet.destroy();
      for (const buffer of [staging, resolved]) this.#device.freeBuffer(buffer);
    }
    return timings;
  }

  dispose(): void {
    if (this.#uniforms) this.#device.freeBuffer(this.#uniforms);
    this.#uniforms = undefined;
  }

  /** Cuts the program anew where what is known has changed, and from time to time, since small changes add up. */
  #nextPlan(): Plan {
    const { clock, cut } = this.#device;
    const known = this.#plan?.version === clock.version ? this.#plan : undefined;
    if (known && known.runsLeft > 0) {
      known.runsLeft--;
      known.timed = NONE;
      return known;
    }
    const submits = cutIntoSubmits(this.#steps, cut);
    const runs = known ? Math.min(2 * known.runs, MOST_RUNS) : 1;
    this.#plan = {
      version: clock.version,
      runs,
      runsLeft: runs - 1,
      submits: submits.map((parts) => ({ parts, commands: this.#commands(parts) })),
      timed: cut.groups === undefined ? partsToTime(submits) : NONE,
    };
    return this.#plan;
  }

  #commands(parts: readonly Part<Step>[]): Command[] {
    let pipeline: GPUComputePipeline | undefined;
    let place: GPUBindGroup | undefined;
    return parts.map(({ step, base, grid, share }) => {
      const wanted = share === 1 ? step.whole : this.#part(step, base);
      const command = {
        pipeline: step.pipeline === pipeline ? undefined : step.pipeline,
        bindGroup: step.bindGroup,
        place: wanted === place ? undefined : wanted,
        x: grid[0],
        y: grid[1],
        z: grid[2],
      };
      pipeline = step.pipeline;
      place = wanted;
      return command;
    });
  }

  #part(step: Step, base: Grid): GPUBindGroup {
    return this.#device.pipelines.part(base, step.countsGroups ? step.grid : FIRST);
  }
}

function encode(pass: GPUComputePassEncoder, commands: readonly Command[]): void {
  for (const { pipeline, bindGroup, place, x, y, z } of commands) {
    if (pipeline) pass.setPipeline(pipeline);
    pass.setBindGroup(0, bindGroup);
    if (place) pass.setBindGroup(1, place);
    pass.dispatchWorkgroups(x, y, z);
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
  device: WebGpuDevice,
  { kernel, buffers, params, grid }: Dispatch<DeviceBuffer>,
  uniforms: GPUBuffer,
  offset: number,
): Step {
  const { pipeline, layout } = device.pipelines.get(kernel);
  const entries: GPUBindGroupEntry[] = boundBuffers({ kernel, buffers }, device.limits).map(
    ({ buffer }, binding) => ({
      binding,
      resource: {
        buffer: gpuBufferOf(buffer),
        offset: buffer.offset,
        size: Math.ceil(buffer.bytes / 4) * 4,
      },
    }),
  );
  if (kernel.params.length > 0) {
    const size = Math.ceil((kernel.params.length * 4) / 16) * 16;
    entries.push({ binding: entries.length, resource: { buffer: uniforms, offset, size } });
  }
  device.stats.bindGroups++;
  return {
    pipeline,
    bindGroup: device.gpu.createBindGroup({ label: kernel.name, layout, entries }),
    grid,
    label: kernel.name,
    countsGroups: kernel.countsGroups,
    whole: device.pipelines.part(FIRST, kernel.countsGroups ? grid : FIRST),
    turns: loopTurns(kernel, params),
    cost: device.clock.costOf(`${kernel.name}/${grid}/${Object.values(params)}`),
  };
}

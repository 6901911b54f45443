import { AlloyError } from '../../util/errors.ts';
import type { Grid, Kernel } from '../kernel.ts';

export interface Pipeline {
  readonly wgsl: string;
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

/** Compiled kernels of a device, each once, and the uniforms that tell them which part of a dispatch they run. */
export class WebPipelines {
  readonly #device: GPUDevice;
  readonly #features: ReadonlySet<string>;
  readonly #onMade: () => void;
  readonly #made = new Map<string, Pipeline>();
  readonly #parts = new Map<string, GPUBindGroup>();
  readonly #partLayout: GPUBindGroupLayout;

  /** @param onMade hears of every kernel that is compiled */
  constructor(device: GPUDevice, features: ReadonlySet<string>, onMade: () => void) {
    this.#device = device;
    this.#features = features;
    this.#onMade = onMade;
    this.#partLayout = device.createBindGroupLayout({
      label: 'part',
      entries: [{ binding: 0, visibility: GPUShaderStage.COMPUTE, buffer: { type: 'uniform' } }],
    });
  }

  /** Compiles a kernel once per name, or its fallback where this device lacks a feature it enables. */
  get(kernel: Kernel): Pipeline {
    const used = this.#usable(kernel);
    const known = this.#known(used);
    if (known) return known;
    const { layout, descriptor } = this.#describe(used);
    return this.#keep(used, layout, this.#device.createComputePipeline(descriptor));
  }

  /** Compiles kernels side by side, so that recording them does not wait for one after the other. */
  async compile(kernels: Iterable<Kernel>): Promise<void> {
    const missing = new Map<string, Kernel>();
    for (const kernel of kernels) {
      const used = this.#usable(kernel);
      if (!this.#known(used)) missing.set(used.name, used);
    }
    await Promise.all(
      [...missing.values()].map(async (kernel) => {
        const { layout, descriptor } = this.#describe(kernel);
        const pipeline = await this.#device.createComputePipelineAsync(descriptor);
        if (!this.#known(kernel)) this.#keep(kernel, layout, pipeline);
      }),
    );
  }

  /**
   * Tells the kernels where a part of a dispatch begins. A few dozen of them are made, each 32 bytes, so they are kept.
   * @param groups those of the whole dispatch, for kernels that count them
   */
  part(base: Grid, groups: Grid): GPUBindGroup {
    const key = `${base}/${groups}`;
    const known = this.#parts.get(key);
    if (known) return known;
    const buffer = this.#device.createBuffer({
      label: 'part',
      size: 32,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    });
    this.#device.queue.writeBuffer(buffer, 0, Uint32Array.of(...base, 0, ...groups, 0));
    const part = this.#device.createBindGroup({
      label: 'part',
      layout: this.#partLayout,
      entries: [{ binding: 0, resource: { buffer } }],
    });
    this.#parts.set(key, part);
    return part;
  }

  #usable(kernel: Kernel): Kernel {
    const lacks = !kernel.enable.every((feature) => this.#features.has(feature));
    return kernel.fallback && lacks ? this.#usable(kernel.fallback) : kernel;
  }

  #known({ name, wgsl }: Kernel): Pipeline | undefined {
    const known = this.#made.get(name);
    if (known && known.wgsl !== wgsl) throw new AlloyError('internal', `two kernels are called "${name}"`);
    return known;
  }

  #describe({ name, wgsl, buffers, params }: Kernel): {
    layout: GPUBindGroupLayout;
    descriptor: GPUComputePipelineDescriptor;
  } {
    if (wgsl === '') throw new AlloyError('internal', `${name} is for WASM alone`);
    const entries: GPUBindGroupLayoutEntry[] = buffers.map(({ writable }, binding) => ({
      binding,
      visibility: GPUShaderStage.COMPUTE,
      buffer: { type: writable ? 'storage' : 'read-only-storage' },
    }));
    if (params.length > 0) {
      const buffer = { type: 'uniform' } as const;
      entries.push({ binding: entries.length, visibility: GPUShaderStage.COMPUTE, buffer });
    }
    const layout = this.#device.createBindGroupLayout({ label: name, entries });
    const descriptor = {
      label: name,
      layout: this.#device.createPipelineLayout({ bindGroupLayouts: [layout, this.#partLayout] }),
      compute: {
        module: this.#device.createShaderModule({ label: name, code: wgsl }),
        entryPoint: 'main',
      },
    };
    return { layout, descriptor };
  }

  #keep({ name, wgsl }: Kernel, layout: GPUBindGroupLayout, pipeline: GPUComputePipeline): Pipeline {
    this.#onMade();
    const made = { wgsl, pipeline, layout };
    this.#made.set(name, made);
    return made;
  }
}

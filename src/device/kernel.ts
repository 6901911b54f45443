import { AlloyError } from '../util/errors.ts';

/**
 * A kernel is WGSL with named buffers and named scalar parameters; a dispatch is a kernel with its arguments.
 * Dispatches are generic over what stands for a buffer: tensors while planning, device buffers when run, so a
 * plan is a list of named dispatches that another executor could run too.
 */
export type ScalarType = 'u32' | 'i32' | 'f32';

export interface BufferSpec {
  /** WGSL element type of the runtime-sized array. */
  readonly element: string;
  readonly writable: boolean;
}

/** A buffer that the kernel only reads, as `array<element>`. */
export function read(element: string): BufferSpec {
  return { element, writable: false };
}

/** A buffer that the kernel writes (and may read), as `array<element>`. */
export function write(element: string): BufferSpec {
  return { element, writable: true };
}

/** The same kernel in WASM: a function of `src/kernels/assembly`. */
export interface WasmKernel<Ps extends string = string> {
  /** Its exported name. */
  readonly name: string;
  /** Choices that the WGSL has written in; the function gets them before its buffers and parameters. */
  readonly constants?: readonly number[];
  /** How many pieces the work has. They do not depend on each other: threads share them out in any order. */
  readonly pieces: (params: Readonly<Record<Ps, number>>, grid: Grid) => number;
}

export interface KernelSpec<Bs extends string, Ps extends string> {
  /** Unique for the source; the key of the pipeline cache. */
  readonly name: string;
  /** At most 8 storage buffers, or what `DeviceLimits.storageBuffers` allows, in binding order. */
  readonly buffers: Readonly<Record<Bs, BufferSpec>>;
  /** Scalars of the uniform block, read in WGSL as `params.name`. */
  readonly params: Readonly<Record<Ps, ScalarType>>;
  /** WGSL features to enable, e.g. `['subgroups']`. */
  readonly enable?: readonly string[];
  /** Runs instead, with the same buffers, parameters and grid, where the device lacks a feature of `enable`. */
  readonly fallback?: Kernel;
  /**
   * Everything but the declarations of buffers and parameters; the entry point is `main`. Left out for a kernel that is
   * chosen for WASM alone.
   */
  readonly code?: string;
  /** Undefined for a kernel that is chosen for GPUs alone. */
  readonly wasm?: WasmKernel<Ps> | undefined;
}

export interface Kernel<Bs extends string = string, Ps extends string = string> {
  readonly name: string;
  /** Empty for a kernel of WASM alone. */
  readonly wgsl: string;
  readonly buffers: readonly { readonly name: Bs; readonly writable: boolean }[];
  readonly params: readonly { readonly name: Ps; readonly type: ScalarType }[];
  readonly enable: readonly string[];
  readonly fallback: Kernel | undefined;
  /** Whether the shader asks how many workgroups there are. */
  readonly countsGroups: boolean;
  readonly wasm: WasmKernel | undefined;
}

export type Grid = readonly [x: number, y: number, z: number];

export interface Dispatch<B> {
  readonly kernel: Kernel;
  readonly buffers: Readonly<Record<string, B>>;
  readonly params: Readonly<Record<string, number>>;
  readonly grid: Grid;
}

export function defineKernel<Bs extends string, Ps extends string>(spec: KernelSpec<Bs, Ps>): Kernel<Bs, Ps> {
  const buffers = Object.entries(spec.buffers) as [Bs, BufferSpec][];
  const params = Object.entries(spec.params) as [Ps, ScalarType][];
  const lines = (spec.enable ?? []).map((feature) => `enable ${feature};`);
  if (params.length > 0) {
    lines.push(`struct Params { ${params.map(([name, type]) => `${name}: ${type}`).join(', ')} }`);
    lines.push(`@group(0) @binding(${buffers.length}) var<uniform> params: Params;`);
  }
  buffers.forEach(([name, { element, writable }], binding) => {
    const access = writable ? 'read_write' : 'read';
    lines.push(`@group(0) @binding(${binding}) var<storage, ${access}> ${name}: array<${element}>;`);
  });
  const { code } = spec;
  return {
    name: spec.name,
    wgsl: code === undefined ? '' : `${lines.join('\n')}\n${GROUP_PART}\n${inParts(spec.name, code)}`,
    buffers: buffers.map(([name, { writable }]) => ({ name, writable })),
    params: params.map(([name, type]) => ({ name, type })),
    enable: spec.enable ?? [],
    fallback: spec.fallback,
    countsGroups: code?.includes('@builtin(num_workgroups)') ?? false,
    wasm: spec.wasm,
  };
}

/** Makes a kernel once for the same arguments: plain values, and objects of such. */
export function madeOnce<A extends readonly unknown[], K extends Kernel>(
  make: (...args: A) => K,
): (...args: A) => K {
  const made = new Map<string, K>();
  return (...args) => {
    const key = JSON.stringify(args);
    const known = made.get(key);
    if (known) return known;
    const kernel = make(...args);
    made.set(key, kernel);
    return kernel;
  };
}

/** Which part of a dispatch a submit runs: its first workgroup, and how many the whole dispatch has. */
const GROUP_PART = `struct GroupPart { base: vec3<u32>, groups: vec3<u32> }
@group(1) @binding(0) var<uniform> group_part: GroupPart;`;

/**
 * Makes the entry point find its place in the whole dispatch, so that one that takes too long for a submit can be run in
 * parts: numbers of workgroups and invocations count from the first of the dispatch, not of the part.
 */
function inParts(name: string, code: string): string {
  const head = /@workgroup_size\(([^)]*)\)\s*fn main\(([\s\S]*?)\)\s*\{/u.exec(code);
  if (!head) throw new AlloyError('internal', `${name} has no entry point main`);
  const [whole, size = '', parameters = ''] = head;
  const [x = '1', y = '1', z = '1'] = size
    .split(',')
    .map((one) => one.trim())
    .filter(Boolean);
  const added: string[] = [];
  const kept = parameters
    .split(/,(?![^<]*>)/u)
    .map((one) => one.trim())
    .filter((one) => {
      const [, builtin, variable] = /^@builtin\((\w+)\)\s*(\w+)\s*:/u.exec(one) ?? [];
      if (builtin === 'num_workgroups') added.push(`let ${variable} = group_part.groups;`);
      return one !== '' && builtin !== 'num_workgroups';
    })
    .map((one) => {
      const [, builtin, variable] = /^@builtin\((\w+)\)\s*(\w+)\s*:/u.exec(one) ?? [];
      if (builtin === 'workgroup_id') added.push(`let ${variable} = part_${variable} + group_part.base;`);
      else if (builtin === 'global_invocation_id') {
        added.push(`let ${variable} = part_${variable} + group_part.base * vec3<u32>(${x}, ${y}, ${z});`);
      } else return one;
      return one.replace(/(\w+)(\s*:)/u, 'part_$1$2');
    });
  const entry = `@workgroup_size(${size})\nfn main(${kept.join(', ')}) {\n  ${added.join('\n  ')}`;
  return code.replace(whole, () => entry);
}

export function dispatch<Bs extends string, Ps extends string, B>(
  kernel: Kernel<Bs, Ps>,
  buffers: { readonly [Name in Bs]: B },
  params: Readonly<Record<Ps, number>>,
  grid: Grid,
): Dispatch<B> {
  return { kernel, buffers, params, grid };
}

/** WebGPU's limit on workgroups in one dimension. */
const MAX_GROUPS = 65_535;

/**
 * The grid of `groups` workgroups in a row, wrapped into two dimensions where one is not enough. The kernel finds
 * its number as `group.y * 65535 + group.x` (see `LINEAR_GROUP`) and must ignore numbers past the end.
 */
export function linearGrid(groups: number): Grid {
  return groups <= MAX_GROUPS ? [Math.max(groups, 1), 1, 1] : [MAX_GROUPS, Math.ceil(groups / MAX_GROUPS), 1];
}

/** WGSL: the number of a workgroup in a `linearGrid`. */
export const LINEAR_GROUP = `
fn linear_group(group: vec3<u32>) -> u32 { return group.y * ${MAX_GROUPS}u + group.x; }
`;

/**
 * WGSL: a number in words that no compiler sees through, so that a loop which starts there stays a loop. With barriers
 * inside, written out, software adapters take three times as long to compile it.
 */
export function unfolded(count: number): string {
  return `select(${count}u, 0u, group_part.base.z == 0xffffffffu)`;
}

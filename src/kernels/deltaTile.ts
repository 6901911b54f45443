/**
 * What the merge kernels share: the deltas δ_s of one matrix from S targets, computed where they are needed.
 *
 * Layout: deltas come as low-rank factors (δ_s = scale_s · B_s A_s) or dense. A group of 64 threads covers `tileRows`
 * rows × 256 columns; a thread holds 4 columns (64 apart, so that neighbouring threads read neighbouring values) of each
 * row, as one vec4 per source and row. Cost with factors: rank · (4 + tileRows) loads for 4 · tileRows deltas of a source.
 */
import { type BufferSpec, type Grid, read, type WasmKernel } from '../device/kernel.ts';
import { AlloyError } from '../util/errors.ts';

/** The deltas of S sources for one matrix [rows, columns]. */
export type DeltaSource<B> =
  | {
      readonly kind: 'factors';
      /** f32 [S · rank, columns]: A_1 … A_S one below the other; adapters of lower rank are padded with zeros. */
      readonly a: B;
      /** f32 [rows, S · rank]: B_1 … B_S side by side. */
      readonly b: B;
      /** f32 [S]: alpha / rank of each adapter. */
      readonly scales: B;
      readonly rank: number;
    }
  | {
      readonly kind: 'dense';
      /** f32 [S, rows, columns] */
      readonly deltas: B;
    };

export interface DeltaShape {
  /** S, 1 to 8. */
  readonly sources: number;
  readonly rows: number;
  readonly columns: number;
}

export const MAX_SOURCES = 8;
export const TILE_THREADS = 64;
const TILE_COLUMNS = 4 * TILE_THREADS;

/** Parameters every kernel made with `tileCode` needs. */
export const TILE_PARAMS = { rows: 'u32', columns: 'u32', rank: 'u32' } as const;

/** Fewer rows for more sources, so that the deltas of a tile stay in registers. */
export function tileRows(sources: number): number {
  return sources <= 2 ? 4 : sources <= 4 ? 2 : 1;
}

export function tileGrid({ sources, rows, columns }: DeltaShape, maxRowGroups = 65_535): Grid {
  if (sources < 1 || sources > MAX_SOURCES)
    throw new AlloyError('internal', `${sources} sources of a merge, 1 to ${MAX_SOURCES}`);
  const rowGroups = Math.ceil(rows / tileRows(sources));
  return [Math.ceil(columns / TILE_COLUMNS), Math.max(1, Math.min(rowGroups, maxRowGroups)), 1];
}

/** What kernels in WASM are told of the sources, before their buffers. */
export function sourceConstants(kind: DeltaSource<unknown>['kind'], sources: number): number[] {
  return [kind === 'dense' ? 1 : 0, sources];
}

/** Tiles of kernels in WASM: 4 rows × 256 columns, as `assembly/lib/deltas.ts` has them. */
export const wasmTiles: WasmKernel['pieces'] = ({ rows = 0, columns = 0 }) =>
  Math.ceil(rows / 4) * Math.ceil(columns / TILE_COLUMNS);

export function sourceSpecs(kind: DeltaSource<unknown>['kind']): Record<string, BufferSpec> {
  return kind === 'factors'
    ? { a: read('f32'), b: read('f32'), scales: read('f32') }
    : { deltas: read('f32') };
}

export function sourceBuffers<B>(source: DeltaSource<B>): Record<string, B> {
  return source.kind === 'factors'
    ? { a: source.a, b: source.b, scales: source.scales }
    : { deltas: source.deltas };
}

export function sourceParams(source: DeltaSource<unknown>, { rows, columns }: DeltaShape) {
  return { rows, columns, rank: source.kind === 'factors' ? source.rank : 0 };
}

/** 0 … count − 1. */
export function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

/**
 * WGSL of an entry point that walks over tiles and runs `body(t)` for each row t of a tile. In `body`: `d<s>_<t>`
 * vec4<f32> deltas of source s (outside the matrix 0 with `zeroOutside`, else some element's), `inside<t>` vec4<bool>,
 * `at<t>` vec4<u32> flat element indices.
 * @param parts `before` runs once a thread ahead of the tiles, `after` once behind them; both may use `lane`, `group` and
 * `groups`
 */
export function tileCode(
  kind: DeltaSource<unknown>['kind'],
  sources: number,
  parts: { before?: string; body: (t: number) => string; after?: string; zeroOutside?: boolean },
): string {
  const rows = tileRows(sources);
  const all = upTo(sources);
  const load = (name: string, base: string) =>
    `vec4<f32>(${['x', 'y', 'z', 'w'].map((c) => `${name}[${base} + column.${c}]`).join(', ')})`;
  const deltas =
    kind === 'dense'
      ? upTo(rows).flatMap((t) =>
          all.map(
            (s) => `var d${s}_${t} = ${load('deltas', `(${s}u * params.rows + row${t}) * params.columns`)};`,
          ),
        )
      : [
          ...upTo(rows).flatMap((t) => all.map((s) => `var d${s}_${t} = vec4<f32>(0.0);`)),
          'for (var q = 0u; q < params.rank; q++) {',
          ...all.flatMap((s) => [
            `  let a${s} = ${load('a', `(${s}u * params.rank + q) * params.columns`)};`,
            ...upTo(rows).map(
              (t) => `  d${s}_${t} += b[(row${t} * ${sources}u + ${s}u) * params.rank + q] * a${s};`,
            ),
          ]),
          '}',
          ...all.flatMap((s) => upTo(rows).map((t) => `d${s}_${t} *= scales[${s}u];`)),
        ];
  return `
@compute @workgroup_size(${TILE_THREADS})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let wanted = vec4<u32>(group.x * ${TILE_COLUMNS}u + lane) + vec4<u32>(0u, 64u, 128u, 192u);
  let column = min(wanted, vec4<u32>(params.columns - 1u));
  ${parts.before ?? ''}
  for (var top = group.y * ${rows}u; top < params.rows; top += groups.y * ${rows}u) {
    ${upTo(rows)
      .map(
        (t) => `let row${t} = min(top + ${t}u, params.rows - 1u);
    let inside${t} = (wanted < vec4<u32>(params.columns)) & vec4<bool>(top + ${t}u < params.rows);
    let at${t} = vec4<u32>(row${t} * params.columns) + column;`,
      )
      .join('\n    ')}
    ${deltas.join('\n    ')}
    ${(parts.zeroOutside ? upTo(rows) : [])
      .flatMap((t) => all.map((s) => `d${s}_${t} = select(vec4<f32>(0.0), d${s}_${t}, inside${t});`))
      .join('\n    ')}
    ${upTo(rows)
      .map((t) => `{ ${parts.body(t)} }`)
      .join('\n    ')}
  }
  ${parts.after ?? ''}
}`;
}

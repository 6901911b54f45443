/**
 * The merged delta of one matrix from the deltas δ_s of S ≤ 8 targets, with merge weights w_s from a buffer, so that a
 * moved slider is a replay.
 *
 *   linear   Σ w_s δ_s
 *   sce      sign σ of Σ δ_s (0 counts as +); w'_s = w_s where sign(δ_s) = σ, else 0 (a zero δ_s never agrees);
 *            Σ w'_s δ_s, with `divide` over Σ w'_s (1 where that is 0)
 *
 * SCE (2408.07990) as published keeps the sum (no `divide`) and merges the selected elements; its released code divides
 * and merges all elements; mergekit divides and merges the selected ones. Give `selection` for the latter two kinds of
 * "selected": elements outside it count as 0. Grid and cost: see deltaTile.ts.
 */
import {
  type Dispatch,
  defineKernel,
  dispatch,
  type Kernel,
  madeOnce,
  read,
  write,
} from '../device/kernel.ts';
import { KEPT, SELECTION_SPECS, type Selection } from './deltaSelect.ts';
import {
  type DeltaShape,
  type DeltaSource,
  sourceBuffers,
  sourceConstants,
  sourceParams,
  sourceSpecs,
  TILE_PARAMS,
  tileCode,
  tileGrid,
  upTo,
  wasmTiles,
} from './deltaTile.ts';

export type MergeMethod = { readonly kind: 'linear' } | { readonly kind: 'sce'; readonly divide: boolean };

/** What the kernel in WASM calls the methods. */
const METHOD_NUMBERS = { linear: 0, sce: 1, sceDivided: 2 } as const;

const mergeKernel = madeOnce(
  (kind: DeltaSource<unknown>['kind'], sources: number, method: MergeMethod, selected: boolean): Kernel => {
    const word = method.kind === 'sce' && method.divide ? 'sceDivided' : method.kind;
    const name = `deltaMerge.${word}.${kind}.${sources}${selected ? '.selected' : ''}`;
    const all = upTo(sources);
    const merged = (t: number) =>
      method.kind === 'linear'
        ? `let result = ${all.map((s) => `w${s} * d${s}_${t}`).join(' + ')};`
        : `let total = ${all.map((s) => `d${s}_${t}`).join(' + ')};
    let elected = select(vec4<f32>(-1.0), vec4<f32>(1.0), total >= vec4<f32>(0.0));
    ${all
      .map(
        (s) => `let v${s} = select(vec4<f32>(0.0), vec4<f32>(w${s}), d${s}_${t} * elected > vec4<f32>(0.0));`,
      )
      .join('\n    ')}
    let sum = ${all.map((s) => `v${s} * d${s}_${t}`).join(' + ')};
    ${
      method.divide
        ? `let weight = ${all.map((s) => `v${s}`).join(' + ')};
    let result = sum / select(weight, vec4<f32>(1.0), weight == vec4<f32>(0.0));`
        : 'let result = sum;'
    }`;
    const body = (t: number) => `
    ${
      selected
        ? `let keep = kept(at${t}); ${all.map((s) => `d${s}_${t} = select(vec4<f32>(0.0), d${s}_${t}, keep);`).join(' ')}`
        : ''
    }
    ${merged(t)}
    ${['x', 'y', 'z', 'w']
      .map(
        (c) => `if (inside${t}.${c}) {
      if (params.accumulate == 1u) { delta[at${t}.${c}] += result.${c}; } else { delta[at${t}.${c}] = result.${c}; }
    }`,
      )
      .join('\n    ')}`;
    return defineKernel<string, string>({
      name,
      buffers: {
        ...sourceSpecs(kind),
        weights: read('f32'),
        ...(selected ? SELECTION_SPECS : {}),
        delta: write('f32'),
      },
      params: { ...TILE_PARAMS, weightStart: 'u32', accumulate: 'u32' },
      code: `${selected ? KEPT : ''}${tileCode(kind, sources, {
        before: all.map((s) => `let w${s} = weights[params.weightStart + ${s}u];`).join(' '),
        body,
      })}`,
      wasm: {
        name: 'deltaMerge',
        constants: [METHOD_NUMBERS[word], selected ? 1 : 0, ...sourceConstants(kind, sources)],
        pieces: wasmTiles,
      },
    });
  },
);

/**
 * @param buffers `weights` f32 with this matrix's w_1 … w_S from `weightStart` on; `delta` f32 [rows, columns], written,
 * or added to with `accumulate` (onto the pivot's weights, say)
 * @param selection elements that count, of `selectTop`; all when left out
 */
export function mergeDeltas<B>(
  source: DeltaSource<B>,
  buffers: { readonly weights: B; readonly delta: B },
  shape: DeltaShape,
  method: MergeMethod,
  options: {
    readonly weightStart?: number;
    readonly accumulate?: boolean;
    readonly selection?: Selection<B>;
  } = {},
): Dispatch<B> {
  const { weightStart = 0, accumulate = false, selection } = options;
  return dispatch<string, string, B>(
    mergeKernel(source.kind, shape.sources, method, selection !== undefined),
    {
      ...sourceBuffers(source),
      weights: buffers.weights,
      delta: buffers.delta,
      ...(selection ? { variance: selection.variance, selection: selection.selection } : {}),
    },
    { ...sourceParams(source, shape), weightStart, accumulate: accumulate ? 1 : 0 },
    tileGrid(shape),
  );
}

/** A finished run as a model of its own: the pivot with the merged deltas, live on the GPU or realised as weights. */

import type { Device } from '../device/device.ts';
import type { LoraMatrix } from '../formats/peft.ts';
import { unpack } from '../kernels/weightFormat.ts';
import { weightedSum } from '../merge/linear.ts';
import { LiveMerge } from '../merge/liveMerge.ts';
import { loraDelta } from '../merge/loraDelta.ts';
import { sceMerge } from '../merge/sce.ts';
import { canonicalTensors } from '../models/canonicalTensors.ts';
import type { LoadedModel } from '../models/loadedModel.ts';
import type { TensorSource } from '../models/tensorSource.ts';
import { AlloyError, required } from '../util/errors.ts';
import { hashOf, sha256 } from '../util/hash.ts';
import { liveMethod, type MergeFile } from './mergeFile.ts';
import { loadModel, type OpenModel } from './openModel.ts';

/** The pivot, one delta a source, and how they are merged. */
export interface MergeParts {
  readonly pivot: OpenModel;
  /** In the order of `merge.sources`. */
  readonly deltas: readonly (readonly LoraMatrix[])[];
  readonly merge: MergeFile;
}

/** A fused model: as any other one (its weights in f32), and with what it was made of. */
export interface MergedModel extends OpenModel {
  readonly parts: MergeParts;
}

export function isMerged(model: OpenModel): model is MergedModel {
  return 'parts' in model;
}

/** @throws AlloyError `bad-file` where the deltas do not fit the pivot or the merge */
export async function openMerged(name: string, given: MergeParts): Promise<MergedModel> {
  const tensors = canonicalTensors(given.pivot.config, given.pivot.tensors);
  const parts = { ...given, pivot: { ...given.pivot, tensors } };
  const { pivot, deltas, merge } = parts;
  checkParts(name, parts);
  const factors = deltas.map((delta) =>
    Promise.all(
      delta.map(async ({ module, scale, a, b }) => [
        module,
        scale,
        await sha256(bytesOf(a)),
        await sha256(bytesOf(b)),
      ]),
    ),
  );
  const { method, matrices } = merge;
  const identity = await hashOf({
    pivot: pivot.identity,
    deltas: await Promise.all(factors),
    method,
    weights: matrices.map(({ module, weights }) => [module, weights]),
  });
  return { ...pivot, name, identity, tensors: mergedTensors(parts), parts };
}

/** Puts the packed pivot on the GPU with the deltas merged beside it: the model that the run evaluated. */
export async function loadMerged(
  device: Device,
  { pivot, deltas, merge }: MergeParts,
): Promise<LoadedModel & { readonly merge: LiveMerge }> {
  const loaded = await loadModel(device, pivot);
  try {
    const live = await LiveMerge.create(device, pivot.config, loaded.weights, deltas, liveMethod(merge));
    setWeights(live, merge);
    return {
      config: pivot.config,
      weights: live.model,
      merge: live,
      dispose() {
        live.dispose();
        loaded.dispose();
      },
    };
  } catch (error) {
    loaded.dispose();
    throw error;
  }
}

/** A model on the GPU, fused or not. */
export function loadAny(device: Device, model: OpenModel): Promise<LoadedModel> {
  return isMerged(model) ? loadMerged(device, model.parts) : loadModel(device, model);
}

/** Weights that were moved by hand. */
function setWeights(live: LiveMerge, { matrices }: MergeFile): void {
  const byModule = new Map(matrices.map((one) => [one.module, one]));
  const cells = live.stats.flatMap(({ path }, matrix) => {
    const { weights, computed } = required(byModule.get(path), path);
    if (weights.every((weight, source) => weight === computed[source])) return [];
    return weights.map((weight, source) => ({ matrix, source, weight }));
  });
  if (cells.length > 0) live.setWeights(cells);
}

function checkParts(name: string, { pivot, deltas, merge }: MergeParts): void {
  if (pivot.identity !== merge.pivot.identity) {
    throw new AlloyError(
      'bad-file',
      `${name}: its pivot ${pivot.name} is not the model that it was made with (${merge.pivot.name}); put that model back, or fuse anew.`,
    );
  }
  for (const [index, delta] of deltas.entries()) {
    const source = merge.sources[index]?.name ?? String(index);
    const byModule = new Map(delta.map((matrix) => [matrix.module, matrix]));
    for (const { module } of merge.matrices) {
      const found = byModule.get(module);
      const shape = pivot.tensors.shape(`${module}.weight`);
      if (found && shape?.[0] === found.outFeatures && shape[1] === found.inFeatures) continue;
      throw new AlloyError(
        'bad-file',
        `${name}: the delta of ${source} ${found ? `does not fit ${module} of ${pivot.name}` : `lacks ${module}`}; use the adapters and the pivot of one run.`,
      );
    }
  }
}

/** The pivot's tensors with the merged deltas added, computed on the CPU when a matrix is asked for. */
function mergedTensors({ pivot, deltas, merge }: MergeParts): TensorSource {
  const matrices = new Map(merge.matrices.map((one) => [`${one.module}.weight`, one]));
  const base = pivot.tensors;
  return {
    file: base.file,
    turned: true,
    shape: (name) => base.shape(name),
    vector: (name) => base.vector(name),
    async matrix(name) {
      const packed = await base.matrix(name);
      const place = matrices.get(name);
      if (!place) return packed;
      const values = Float32Array.from(unpack(packed));
      const merged = mergedDelta(deltas, place.module, merge.method, place.weights);
      for (let at = 0; at < values.length; at++) values[at] = (values[at] ?? 0) + (merged[at] ?? 0);
      return { format: { kind: 'f32' }, rows: packed.rows, cols: packed.cols, data: values };
    },
  };
}

function mergedDelta(
  deltas: MergeParts['deltas'],
  module: string,
  method: MergeFile['method'],
  weights: readonly number[],
): Float32Array {
  const dense = deltas.map((delta) => {
    const { inFeatures, outFeatures, ...factors } = required(
      delta.find((matrix) => matrix.module === module),
      module,
    );
    return loraDelta({ ...factors, inputs: inFeatures, outputs: outFeatures });
  });
  if (method.kind === 'linear') return weightedSum(dense, weights, { normalise: false });
  return sceMerge(dense, { variant: method.variant, tau: method.tau, coefficients: weights }).delta;
}

function bytesOf(values: Float32Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

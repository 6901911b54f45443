import { type Device, isOnProcessor } from '../device/device.ts';
import type { LoraMatrix } from '../formats/peft.ts';
import { LiveMerge } from '../merge/liveMerge.ts';
import type { LoadedModel } from '../models/loadedModel.ts';
import { required } from '../util/errors.ts';
import type { FusionResult } from './fusionRun.ts';
import { recipeMethod } from './mergeFile.ts';
import { type CellChange, findCells, mergeView } from './mergeView.ts';
import { ModelRunner } from './modelRunner.ts';
import { loadModel } from './openModel.ts';
import type { Conversation, MergeView } from './protocol.ts';
import type { Suite } from './runData.ts';

/** Held-out conversations of a probe: enough to see a change, few enough to follow a slider. */
const PROBE_CONVERSATIONS = { gpu: 16, software: 8 };

/** The parts of a fusion on one device. */
interface Mounted {
  readonly device: Device;
  readonly pivot: LoadedModel;
  readonly merge: LiveMerge;
  readonly fused: ModelRunner;
  /** `pivot`, `sft` and `target:NAME`, as they are first asked for. */
  readonly others: Map<string, Promise<ModelRunner>>;
}

type FusionParts = Pick<FusionResult, 'report' | 'pivot' | 'sources' | 'targets' | 'sft'>;

/**
 * A finished fusion to chat with and to change. Its deltas stay in memory, so that it can be put on another device when
 * the one it is on is lost.
 */
export class LiveFusion {
  readonly #parts: FusionParts;
  readonly #probe: readonly Conversation[];
  #device: Device;
  #mounted: Promise<Mounted>;
  /** The last one that was mounted; its numbers outlive its device. */
  #merge: LiveMerge;
  #answers = new AbortController();

  /** Takes over what a run left on the device. */
  constructor(device: Device, result: FusionResult, suites: readonly Suite[]) {
    this.#parts = result;
    this.#probe = probeOf(suites, PROBE_CONVERSATIONS[isOnProcessor(device.info) ? 'software' : 'gpu']);
    this.#device = device;
    this.#merge = result.merge;
    this.#mounted = Promise.resolve(this.#mount(device, result.loadedPivot, result.merge));
  }

  get pivot(): string {
    return this.#parts.pivot.name;
  }

  /** Whether a chat model is part of it. */
  has(model: string): boolean {
    return ['pivot', 'fused', 'sft'].includes(model) || this.#targetOf(model) !== undefined;
  }

  async view(device: Device): Promise<MergeView> {
    const { merge } = await this.#on(device);
    return mergeView(
      merge,
      this.#parts.sources.map(({ name }) => name),
    );
  }

  /** Moves single weights; what is generated next uses them. Nothing is compiled or recorded. */
  async setWeights(device: Device, cells: readonly CellChange[]): Promise<void> {
    const { merge, fused } = await this.#on(device);
    const changes = findCells(merge, cells);
    if (changes.length === 0) return;
    merge.setWeights(changes);
    fused.moved();
  }

  /** Computes all weights by a method with the recipe's settings. An answer that is being written is ended. */
  async setMethod(device: Device, method: 'sce' | 'linear'): Promise<MergeView> {
    const { merge, fused } = await this.#on(device);
    const { recipe } = this.#parts.report;
    this.#answers.abort();
    this.#answers = new AbortController();
    let failure: unknown;
    await fused.replace(async () => {
      try {
        await merge.setMethod(recipeMethod({ ...recipe, merge: { ...recipe.merge, method } }));
      } catch (error) {
        failure = error;
      }
      return merge.model;
    });
    if (failure !== undefined) throw failure;
    return this.view(device);
  }

  async probe(device: Device): Promise<{ nllPerByte: number; ms: number }> {
    const { fused } = await this.#on(device);
    return fused.nllPerByte(this.#probe, this.#parts.report.recipe.train.maxTokens);
  }

  /**
   * @param model one that `has` names
   * @param signal is joined with the end of answers that a change of method brings
   */
  async use<T>(
    device: Device,
    model: string,
    signal: AbortSignal,
    job: (runner: ModelRunner, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const mounted = await this.#on(device);
    if (model === 'fused') return job(mounted.fused, AbortSignal.any([signal, this.#answers.signal]));
    let runner = mounted.others.get(model);
    if (!runner) {
      runner = this.#makeRunner(mounted, model);
      mounted.others.set(model, runner);
      runner.catch(() => mounted.others.delete(model));
    }
    return job(await runner, signal);
  }

  /** Frees everything when what runs has ended. */
  async close(): Promise<void> {
    const { fused, others, merge, pivot } = await this.#mounted;
    const runners = [fused, ...(await Promise.allSettled(others.values())).flatMap(fulfilled)];
    for (const runner of runners) await runner.close();
    merge.dispose();
    pivot.dispose();
  }

  #on(device: Device): Promise<Mounted> {
    if (device !== this.#device) {
      const before = this.#device;
      this.#device = device;
      this.#mounted = this.#remount(device);
      // What failed is tried again by the next call.
      this.#mounted.catch(() => {
        if (this.#device === device) this.#device = before;
      });
    }
    return this.#mounted;
  }

  #mount(device: Device, pivot: LoadedModel, merge: LiveMerge): Mounted {
    this.#merge = merge;
    const fused = new ModelRunner(device, this.#parts.pivot, merge.model, () => undefined);
    return { device, pivot, merge, fused, others: new Map() };
  }

  /** Puts the fusion on another device, with the weights as they were. */
  async #remount(device: Device): Promise<Mounted> {
    const { pivot, targets, report } = this.#parts;
    const { method, weights } = this.#merge;
    const loaded = await loadModel(device, pivot, { precision: report.recipe.precision });
    try {
      const merge = await LiveMerge.create(device, pivot.config, loaded.weights, targets, method);
      const cells = weights.flatMap((row, matrix) =>
        row.map((weight, source) => ({ matrix, source, weight })),
      );
      merge.setWeights(cells);
      return this.#mount(device, loaded, merge);
    } catch (error) {
      loaded.dispose();
      throw error;
    }
  }

  async #makeRunner({ device, pivot }: Mounted, model: string): Promise<ModelRunner> {
    const open = this.#parts.pivot;
    if (model === 'pivot') return new ModelRunner(device, open, pivot.weights, () => undefined);
    const delta = model === 'sft' ? this.#parts.sft : required(this.#targetOf(model), model);
    const alone = await LiveMerge.create(device, open.config, pivot.weights, [delta], { kind: 'linear' });
    return new ModelRunner(device, open, alone.model, () => alone.dispose());
  }

  #targetOf(model: string): readonly LoraMatrix[] | undefined {
    const index = this.#parts.sources.findIndex(({ name }) => model === `target:${name}`);
    return this.#parts.targets[index];
  }
}

/** The same few conversations every time, from every suite in turn. */
function probeOf(suites: readonly Suite[], most: number): Conversation[] {
  const chosen: Conversation[] = [];
  const longest = Math.max(0, ...suites.map(({ conversations }) => conversations.length));
  for (let index = 0; index < longest; index++) {
    for (const { conversations } of suites) {
      const one = conversations[index];
      if (one && chosen.length < most) chosen.push(one);
    }
  }
  return chosen;
}

function fulfilled<T>(result: PromiseSettledResult<T>): T[] {
  return result.status === 'fulfilled' ? [result.value] : [];
}

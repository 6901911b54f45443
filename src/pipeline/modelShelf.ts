import type { Device } from '../device/device.ts';
import type { Weight } from '../graph/tensor.ts';
import type { DecoderWeights } from '../models/decoder.ts';
import { ModelRunner } from './modelRunner.ts';
import { loadModel, type OpenModel } from './openModel.ts';

interface Place {
  readonly runner: Promise<ModelRunner>;
  bytes: number;
  users: number;
}

/** Models on the GPU by name. Those that were used last stay, up to a number of bytes. */
export class ModelShelf {
  readonly #device: Device;
  readonly #open: (name: string) => Promise<OpenModel>;
  readonly #mostBytes: number;
  /** Oldest use first. */
  readonly #places = new Map<string, Place>();

  constructor(device: Device, open: (name: string) => Promise<OpenModel>, mostBytes: number) {
    this.#device = device;
    this.#open = open;
    this.#mostBytes = mostBytes;
  }

  /** Names of the models that are loaded or being loaded, oldest use first. */
  get names(): readonly string[] {
    return [...this.#places.keys()];
  }

  /** Loads a model if need be and keeps it while the job runs. */
  async use<T>(name: string, job: (runner: ModelRunner) => Promise<T>): Promise<T> {
    const place = this.#places.get(name) ?? { runner: this.#load(name), bytes: 0, users: 0 };
    this.#places.delete(name);
    this.#places.set(name, place);
    place.users++;
    try {
      return await job(await place.runner);
    } finally {
      place.users--;
      this.#makeRoom();
    }
  }

  async #load(name: string): Promise<ModelRunner> {
    try {
      const model = await this.#open(name);
      const loaded = await loadModel(this.#device, model);
      const { frozen } = loaded;
      const place = this.#places.get(name);
      if (place) place.bytes = frozen ? frozen.bytes : weightBytes(loaded.weights);
      this.#makeRoom();
      return new ModelRunner(this.#device, model, frozen ?? loaded.weights, () => loaded.dispose());
    } catch (error) {
      this.#places.delete(name);
      throw error;
    }
  }

  /** Puts away the models that were not used for the longest time until the rest fits. */
  #makeRoom(): void {
    let bytes = 0;
    for (const place of this.#places.values()) bytes += place.bytes;
    for (const [name, place] of this.#places) {
      if (bytes <= this.#mostBytes) return;
      if (place.users > 0) continue;
      this.#places.delete(name);
      bytes -= place.bytes;
      place.runner.then((runner) => runner.close()).catch(() => undefined);
    }
  }
}

/** What a model's matrices take on the GPU. */
function weightBytes({ embedding, head, layers }: DecoderWeights): number {
  const matrices = layers.flatMap((layer) => Object.values(layer.matrices).map(({ weight }) => weight));
  const all = new Set<Weight>([embedding, head, ...matrices]);
  let bytes = 0;
  for (const { chunks } of all) {
    for (const { data, scales } of chunks) bytes += (data.home?.bytes ?? 0) + (scales?.home?.bytes ?? 0);
  }
  return bytes;
}

import type { Storage } from '../storage/storage.ts';
import { hashOf } from '../util/hash.ts';

/**
 * Results of stages by the hash of what they were made from: the stage's settings and the keys of its inputs. An
 * artifact is written once under its final name, so a killed run finds either the whole of it or nothing. One that was
 * damaged since is made again, as if it were not there.
 */
export class ArtifactStore {
  readonly #storage: Storage;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  /** The key of an artifact. `version` changes when a stage's code changes its meaning. */
  key(stage: string, version: number, inputs: unknown): Promise<string> {
    return hashOf({ stage, version, inputs });
  }

  async read(stage: string, key: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const path = pathOf(stage, key);
    if (!(await this.#storage.exists(path))) return undefined;
    const file = await this.#storage.open(path);
    return file.read(0, file.bytes);
  }

  /** What `parse` makes of an artifact; undefined where there is none or where `parse` throws. */
  async readAs<T>(
    stage: string,
    key: string,
    parse: (bytes: Uint8Array<ArrayBuffer>) => T | Promise<T>,
  ): Promise<T | undefined> {
    const bytes = await this.read(stage, key);
    if (bytes === undefined) return undefined;
    try {
      return await parse(bytes);
    } catch {
      return undefined;
    }
  }

  async write(stage: string, key: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const writer = await this.#storage.create(pathOf(stage, key));
    try {
      await writer.write(bytes);
      await writer.commit();
    } catch (error) {
      await writer.abort();
      throw error;
    }
  }

  remove(stage: string, key: string): Promise<void> {
    return this.#storage.remove(pathOf(stage, key));
  }

  readJson<T>(stage: string, key: string): Promise<T | undefined> {
    return this.readAs(stage, key, (bytes) => JSON.parse(new TextDecoder().decode(bytes)) as T);
  }

  writeJson(stage: string, key: string, value: unknown): Promise<void> {
    return this.write(stage, key, new TextEncoder().encode(JSON.stringify(value)));
  }
}

function pathOf(stage: string, key: string): string {
  return `artifacts/${stage}/${key}`;
}

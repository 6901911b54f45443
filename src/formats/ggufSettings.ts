import { AlloyError } from '../util/errors.ts';
import type { GgufFile } from './gguf.ts';

/** Typed access to `<architecture>.<key>` metadata; every complaint names file and key. */
export class GgufSettings {
  readonly #gguf: GgufFile;
  readonly #architecture: string;

  constructor(gguf: GgufFile, architecture: string) {
    this.#gguf = gguf;
    this.#architecture = architecture;
  }

  fail(key: string, what: string): AlloyError {
    return new AlloyError(
      'bad-file',
      `${this.#gguf.source.name}: the metadata ${this.#architecture}.${key} ${what}; get a file made for this model.`,
    );
  }

  optional(key: string): number | undefined {
    const value = this.#gguf.metadata.get(`${this.#architecture}.${key}`);
    if (value === undefined) return undefined;
    if (typeof value === 'number') return value;
    if (typeof value === 'object') {
      const [first, ...others] = value;
      if (typeof first === 'number' && others.every((other) => other === first)) return first;
    }
    throw this.fail(key, 'is not one number; models whose layers differ in it are not supported');
  }

  number(key: string): number {
    const value = this.optional(key);
    if (value === undefined) throw this.fail(key, 'is missing');
    return value;
  }

  /** A whole number ≥ 1. */
  size(key: string, fallback?: number): number {
    const value = this.optional(key) ?? fallback ?? this.number(key);
    if (!Number.isSafeInteger(value) || value < 1) throw this.fail(key, `is ${value}, not a size`);
    return value;
  }

  text(key: string): string | undefined {
    const value = this.#gguf.metadata.get(`${this.#architecture}.${key}`);
    return typeof value === 'string' ? value : undefined;
  }

  raw(key: string): unknown {
    return this.#gguf.metadata.get(`${this.#architecture}.${key}`);
  }
}

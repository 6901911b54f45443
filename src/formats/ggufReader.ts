import { AlloyError } from '../util/errors.ts';
import type { FileSource } from '../util/fileSource.ts';

/** A value of GGUF metadata. Arrays of numbers are typed arrays; 64-bit integers become numbers (exact to 2^53). */
export type GgufValue = number | boolean | string | GgufArray;
export type GgufNumbers =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array;
export type GgufArray = GgufNumbers | readonly string[] | readonly boolean[] | readonly GgufArray[];

const pieceBytes = 1 << 20;
const maxNesting = 4;
/** Far above any chat template or vocabulary; more can only be a damaged length. */
const maxTextBytes = 1 << 24;
const maxEntries = 1 << 24;
const valueType = { bool: 7, string: 8, array: 9 } as const;

interface NumberType {
  readonly bytes: number;
  read(view: DataView, at: number): number;
  make(count: number): GgufNumbers;
}

/** By the number that stands in the file. */
const numberTypes: ReadonlyMap<number, NumberType> = new Map<number, NumberType>([
  [0, { bytes: 1, read: (v, i) => v.getUint8(i), make: (n) => new Uint8Array(n) }],
  [1, { bytes: 1, read: (v, i) => v.getInt8(i), make: (n) => new Int8Array(n) }],
  [2, { bytes: 2, read: (v, i) => v.getUint16(i, true), make: (n) => new Uint16Array(n) }],
  [3, { bytes: 2, read: (v, i) => v.getInt16(i, true), make: (n) => new Int16Array(n) }],
  [4, { bytes: 4, read: (v, i) => v.getUint32(i, true), make: (n) => new Uint32Array(n) }],
  [5, { bytes: 4, read: (v, i) => v.getInt32(i, true), make: (n) => new Int32Array(n) }],
  [6, { bytes: 4, read: (v, i) => v.getFloat32(i, true), make: (n) => new Float32Array(n) }],
  [10, { bytes: 8, read: (v, i) => Number(v.getBigUint64(i, true)), make: (n) => new Float64Array(n) }],
  [11, { bytes: 8, read: (v, i) => Number(v.getBigInt64(i, true)), make: (n) => new Float64Array(n) }],
  [12, { bytes: 8, read: (v, i) => v.getFloat64(i, true), make: (n) => new Float64Array(n) }],
]);

export function badGguf(file: string, what: string): AlloyError {
  return new AlloyError('bad-file', `${file}: ${what}; the file is damaged, get it again.`);
}

/**
 * Reads a GGUF header from front to back in pieces of about 1 MiB. Every length that the file claims is compared with
 * the bytes that are left before anything is allocated for it.
 */
export class GgufCursor {
  readonly #source: FileSource;
  #bytes = new Uint8Array(0);
  #view = new DataView(this.#bytes.buffer);
  /** Position in the file of `#bytes[0]`. */
  #base = 0;
  #at = 0;
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });

  constructor(source: FileSource) {
    this.#source = source;
  }

  /** Position in the file. */
  get position(): number {
    return this.#base + this.#at;
  }

  get left(): number {
    return this.#source.bytes - this.position;
  }

  fail(what: string): AlloyError {
    return badGguf(this.#source.name, what);
  }

  /** Makes `count` bytes readable at the cursor. `label` names what they are. */
  async need(count: number, label: string): Promise<void> {
    if (this.#at + count <= this.#bytes.length) return;
    if (!(count <= this.left))
      throw this.fail(`it ends inside ${label} (${count} bytes needed, ${this.left} left)`);
    const start = this.position;
    const length = Math.min(this.left, Math.max(count, pieceBytes));
    this.#bytes = await this.#source.read(start, length);
    this.#view = new DataView(this.#bytes.buffer);
    this.#base = start;
    this.#at = 0;
  }

  async u32(label: string): Promise<number> {
    await this.need(4, label);
    this.#at += 4;
    return this.#view.getUint32(this.#at - 4, true);
  }

  /** A 64-bit count or length. */
  async u64(label: string): Promise<number> {
    await this.need(8, label);
    this.#at += 8;
    return Number(this.#view.getBigUint64(this.#at - 8, true));
  }

  async string(label: string): Promise<string> {
    const length = await this.u64(label);
    if (length > maxTextBytes) throw this.fail(`${label} claims a text of ${length} bytes`);
    await this.need(length, label);
    const start = this.#at;
    this.#at += length;
    return this.#text(start, length);
  }

  /** Short ASCII texts, nearly every token of a vocabulary, are put together without the decoder. */
  #text(start: number, length: number): string {
    const bytes = this.#bytes;
    if (length <= 24) {
      let text = '';
      let i = start;
      for (; i < start + length; i++) {
        const byte = bytes[i] ?? 0;
        if (byte >= 0x80) break;
        text += String.fromCharCode(byte);
      }
      if (i === start + length) return text;
    }
    return this.#decoder.decode(bytes.subarray(start, start + length));
  }

  async value(type: number, label: string, depth = 0): Promise<GgufValue> {
    if (type === valueType.string) return await this.string(label);
    if (type === valueType.array) return await this.#array(label, depth);
    if (type === valueType.bool) {
      await this.need(1, label);
      return this.#view.getUint8(this.#at++) !== 0;
    }
    const number = numberTypes.get(type);
    if (number === undefined) throw this.fail(`${label} has the unknown value type ${type}`);
    await this.need(number.bytes, label);
    this.#at += number.bytes;
    return number.read(this.#view, this.#at - number.bytes);
  }

  async #array(label: string, depth: number): Promise<GgufArray> {
    if (depth >= maxNesting) throw this.fail(`${label} nests arrays more than ${maxNesting} deep`);
    const type = await this.u32(label);
    const count = await this.u64(label);
    if (count > maxEntries) throw this.fail(`${label} claims ${count} entries, more than any model has`);
    const number = numberTypes.get(type);
    if (number !== undefined) return await this.#numbers(number, count, label);
    const least = type === valueType.string ? 8 : type === valueType.array ? 12 : 1;
    if (count * least > this.left)
      throw this.fail(`${label} claims ${count} entries, more than the file can hold`);
    if (type === valueType.bool) {
      await this.need(count, label);
      const start = this.#at;
      this.#at += count;
      return Array.from(this.#bytes.subarray(start, start + count), (byte) => byte !== 0);
    }
    if (type === valueType.string) {
      const texts: string[] = [];
      for (let i = 0; i < count; i++) texts.push(await this.#stringOfMany(label));
      return texts;
    }
    if (type !== valueType.array) throw this.fail(`${label} has the unknown value type ${type}`);
    const arrays: GgufArray[] = [];
    for (let i = 0; i < count; i++) arrays.push(await this.#array(label, depth + 1));
    return arrays;
  }

  /** Like `string`, without waiting when the bytes are there: a vocabulary has hundreds of thousands. */
  #stringOfMany(label: string): string | Promise<string> {
    if (this.#at + 8 > this.#bytes.length) return this.string(label);
    const length = Number(this.#view.getBigUint64(this.#at, true));
    if (length > maxTextBytes || this.#at + 8 + length > this.#bytes.length) return this.string(label);
    const start = this.#at + 8;
    this.#at = start + length;
    return this.#text(start, length);
  }

  async #numbers(type: NumberType, count: number, label: string): Promise<GgufNumbers> {
    if (count * type.bytes > this.left)
      throw this.fail(`${label} claims ${count} entries, more than the file can hold`);
    await this.need(count * type.bytes, label);
    const numbers = type.make(count);
    for (let i = 0; i < count; i++) numbers[i] = type.read(this.#view, this.#at + i * type.bytes);
    this.#at += count * type.bytes;
    return numbers;
  }
}

/**
 * What an ONNX file says about itself before a runtime loads it: inputs and outputs with types and shapes, the operators it
 * asks for, and the files beside it that hold its weights. Weights are passed over, so a file of gigabytes is read in moments.
 * Format: Protocol Buffers; the numbers below are the field numbers of onnx.proto3.
 */
import { AlloyError } from '../util/errors.ts';
import type { FileSource } from '../util/fileSource.ts';

/** Element types that inputs and outputs of decoders have, by ONNX's numbers. */
const elementTypes: Readonly<Record<number, string>> = {
  1: 'float32',
  2: 'uint8',
  3: 'int8',
  4: 'uint16',
  5: 'int16',
  6: 'int32',
  7: 'int64',
  8: 'string',
  9: 'bool',
  10: 'float16',
  11: 'float64',
  12: 'uint32',
  13: 'uint64',
  16: 'bfloat16',
};

/** An input or output of the graph. */
export interface OnnxValue {
  readonly name: string;
  /** As onnxruntime names it; `unknown` for others. */
  readonly type: string;
  /** A size, or the name of one that is left open (empty where it has none). */
  readonly shape: readonly (number | string)[];
}

export interface OnnxHeader {
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  /** Files with weights, by path from the ONNX file's own folder. */
  readonly external: readonly string[];
  /** `domain:operator` of every node, without a domain for ONNX's own. */
  readonly operators: ReadonlySet<string>;
}

const pieceBytes = 1 << 16;
/** Names and shapes are short; more can only be a damaged length. */
const maxTextBytes = 1 << 16;
const wire = { varint: 0, fixed64: 1, block: 2, fixed32: 5 } as const;

interface Field {
  readonly number: number;
  readonly wire: number;
  /** Of a varint; else 0. */
  readonly value: number;
  /** Where the content of a block ends; else the end of the field. */
  readonly end: number;
}

/** Reads fields one after another in pieces of a file. */
class ProtoCursor {
  readonly #source: FileSource;
  #piece = new Uint8Array(0);
  #base = 0;
  at = 0;

  constructor(source: FileSource) {
    this.#source = source;
  }

  fail(what: string): AlloyError {
    return new AlloyError('bad-file', `${this.#source.name}: ${what}; the file is damaged, get it again.`);
  }

  async #byte(): Promise<number> {
    const inside = this.at - this.#base;
    if (inside >= 0 && inside < this.#piece.length) {
      this.at++;
      return this.#piece[inside] ?? 0;
    }
    if (this.at >= this.#source.bytes) throw this.fail('it ends inside a field, it is no whole ONNX model');
    this.#base = this.at;
    this.#piece = await this.#source.read(this.at, Math.min(pieceBytes, this.#source.bytes - this.at));
    this.at++;
    return this.#piece[0] ?? 0;
  }

  async varint(): Promise<number> {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = await this.#byte();
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
    throw this.fail('a number in it never ends, it is no ONNX model');
  }

  /** The next field before `end`; its block is the caller's to read or to leave by setting `at`. */
  async field(end: number): Promise<Field> {
    const tag = await this.varint();
    const kind = tag & 7;
    const number = Math.floor(tag / 8);
    if (kind === wire.varint) return { number, wire: kind, value: await this.varint(), end: this.at };
    let length = kind === wire.fixed64 ? 8 : 4;
    if (kind === wire.block) length = await this.varint();
    else if (kind !== wire.fixed32 && kind !== wire.fixed64)
      throw this.fail('a field has an unknown kind, it is no ONNX model');
    if (!(this.at + length <= end)) throw this.fail(`a field of ${length} bytes does not fit in it`);
    const field = { number, wire: kind, value: 0, end: this.at + length };
    if (kind !== wire.block) this.at = field.end;
    return field;
  }

  async text(end: number): Promise<string> {
    const length = end - this.at;
    if (length > maxTextBytes) throw this.fail(`a name has ${length} bytes`);
    const bytes = await this.#source.read(this.at, length);
    this.at = end;
    return new TextDecoder().decode(bytes);
  }
}

type Reader = (field: Field) => Promise<void>;

/** Reads a message's fields; `read` may leave a block unread. */
async function message(cursor: ProtoCursor, end: number, read: Reader): Promise<void> {
  while (cursor.at < end) {
    const field = await cursor.field(end);
    await read(field);
    cursor.at = field.end;
  }
}

async function readShape(cursor: ProtoCursor, end: number): Promise<(number | string)[]> {
  const shape: (number | string)[] = [];
  await message(cursor, end, async ({ number, end: dimensionEnd }) => {
    if (number !== 1) return;
    let size: number | string = '';
    await message(cursor, dimensionEnd, async (field) => {
      if (field.number === 1) size = field.value;
      else if (field.number === 2) size = await cursor.text(field.end);
    });
    shape.push(size);
  });
  return shape;
}

async function readValue(cursor: ProtoCursor, end: number): Promise<OnnxValue> {
  let name = '';
  let type = 'unknown';
  let shape: (number | string)[] = [];
  const tensorType: Reader = async (field) => {
    if (field.number === 1) type = elementTypes[field.value] ?? 'unknown';
    else if (field.number === 2) shape = await readShape(cursor, field.end);
  };
  await message(cursor, end, async (field) => {
    if (field.number === 1) name = await cursor.text(field.end);
    else if (field.number === 2) {
      await message(cursor, field.end, async (inner) => {
        if (inner.number === 1 && inner.wire === wire.block) await message(cursor, inner.end, tensorType);
      });
    }
  });
  return { name, type, shape };
}

interface Found {
  readonly inputs: OnnxValue[];
  readonly outputs: OnnxValue[];
  readonly initializers: Set<string>;
  readonly external: Set<string>;
  readonly operators: Set<string>;
}

async function readTensor(cursor: ProtoCursor, end: number, found: Found): Promise<void> {
  await message(cursor, end, async (field) => {
    if (field.number === 8) found.initializers.add(await cursor.text(field.end));
    if (field.number !== 13) return;
    let [key, value] = ['', ''];
    await message(cursor, field.end, async (entry) => {
      if (entry.number === 1) key = await cursor.text(entry.end);
      else if (entry.number === 2) value = await cursor.text(entry.end);
    });
    if (key === 'location') found.external.add(value);
  });
}

async function readNode(cursor: ProtoCursor, end: number, found: Found): Promise<void> {
  let [operator, domain] = ['', ''];
  await message(cursor, end, async (field) => {
    if (field.number === 4) operator = await cursor.text(field.end);
    else if (field.number === 7) domain = await cursor.text(field.end);
    else if (field.number === 5) {
      await message(cursor, field.end, async (attribute) => {
        if (attribute.number === 5) await readTensor(cursor, attribute.end, found);
        // The branches of an If and the bodies of loops are graphs of their own.
        else if (attribute.number === 6 || attribute.number === 11) {
          const inner: Found = { ...found, inputs: [], outputs: [] };
          await readGraph(cursor, attribute.end, inner);
        }
      });
    }
  });
  found.operators.add(domain === '' || domain === 'ai.onnx' ? operator : `${domain}:${operator}`);
}

async function readGraph(cursor: ProtoCursor, end: number, found: Found): Promise<void> {
  await message(cursor, end, async (field) => {
    if (field.wire !== wire.block) return;
    if (field.number === 1) await readNode(cursor, field.end, found);
    else if (field.number === 5) await readTensor(cursor, field.end, found);
    else if (field.number === 11) found.inputs.push(await readValue(cursor, field.end));
    else if (field.number === 12) found.outputs.push(await readValue(cursor, field.end));
  });
}

/** @throws AlloyError `bad-file` for what is no ONNX model */
export async function readOnnxHeader(source: FileSource): Promise<OnnxHeader> {
  const cursor = new ProtoCursor(source);
  const found: Found = {
    inputs: [],
    outputs: [],
    initializers: new Set(),
    external: new Set(),
    operators: new Set(),
  };
  let graphs = 0;
  await message(cursor, source.bytes, async (field) => {
    if (field.number !== 7 || field.wire !== wire.block) return;
    graphs++;
    await readGraph(cursor, field.end, found);
  });
  if (graphs !== 1) throw cursor.fail('it holds no graph, it is no ONNX model');
  return {
    // Older exporters list the weights among the inputs.
    inputs: found.inputs.filter(({ name }) => !found.initializers.has(name)),
    outputs: found.outputs,
    external: [...found.external],
    operators: found.operators,
  };
}

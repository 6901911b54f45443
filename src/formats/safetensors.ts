import { AlloyError } from '../util/errors.ts';
import type { ByteSink, FileSource } from '../util/fileSource.ts';
import { byteRange, type RowRange } from '../util/rowRange.ts';
import { type DType, dtypeBytes, elementCount, isDType, type Tensor, toFloat32 } from './tensorFile.ts';

/** Where a tensor lies in a safetensors file. */
export interface SafetensorsEntry {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** First byte in the file. */
  readonly offset: number;
  readonly bytes: number;
}

/** The format's own limit for its header. */
const maxHeaderBytes = 100_000_000;
const metadataKey = '__metadata__';

function bad(file: string, what: string, cause?: unknown): AlloyError {
  return new AlloyError('bad-file', `${file}: ${what}; the file is damaged, get it again.`, { cause });
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isSize(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function parseEntry(file: string, name: string, value: unknown, dataStart: number): SafetensorsEntry {
  const label = `tensor ${JSON.stringify(name)}`;
  if (!isRecord(value)) throw bad(file, `${label} is not described by an object`);
  const { dtype, shape, data_offsets: range } = value;
  if (typeof dtype !== 'string') throw bad(file, `${label} has no dtype`);
  if (!isDType(dtype)) {
    throw new AlloyError(
      'unsupported',
      `${file}: ${label} has the dtype ${JSON.stringify(dtype)}, which Alloy does not read; save the file in F32, F16 or BF16.`,
    );
  }
  if (!Array.isArray(shape) || !shape.every(isSize))
    throw bad(file, `${label} has no shape of whole numbers`);
  if (!Array.isArray(range) || range.length !== 2 || !range.every(isSize))
    throw bad(file, `${label} has no data_offsets [start, end]`);
  const [start = 0, end = 0] = range as number[];
  const bytes = elementCount(shape) * dtypeBytes[dtype];
  if (end < start || end - start !== bytes) {
    throw bad(
      file,
      `${label} of ${dtype} with shape [${shape.join(', ')}] needs ${bytes} bytes but its data_offsets [${start}, ${end}] give ${end - start}`,
    );
  }
  return { dtype, shape, offset: dataStart + start, bytes };
}

function parseHeader(file: string, bytes: Uint8Array<ArrayBuffer>): Record<string, unknown> {
  let text: string;
  let header: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    header = JSON.parse(text);
  } catch (error) {
    throw bad(file, 'its header is not JSON', error);
  }
  if (!isRecord(header)) throw bad(file, 'its header is not a JSON object');
  const twice = repeatedKey(text);
  if (twice !== undefined) throw bad(file, `tensor ${twice} is there twice`);
  return header;
}

/** A key that the outer object of a valid JSON text has twice, with its quotes. `JSON.parse` keeps the last in silence. */
function repeatedKey(json: string): string | undefined {
  const seen = new Set<string>();
  let depth = 0;
  for (const [token, end] of json.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?|[[\]{}]/gu)) {
    if (token === '{' || token === '[') depth++;
    else if (token === '}' || token === ']') depth--;
    else if (depth === 1 && end !== undefined) {
      const key = JSON.stringify(JSON.parse(token.slice(0, -end.length)));
      if (seen.has(key)) return key;
      seen.add(key);
    }
  }
  return undefined;
}

function parseMetadata(file: string, value: unknown): Map<string, string> {
  if (!isRecord(value)) throw bad(file, `${metadataKey} is not an object`);
  const metadata = new Map<string, string>();
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== 'string') throw bad(file, `${metadataKey} has a value that is not text at "${key}"`);
    metadata.set(key, text);
  }
  return metadata;
}

/** The data part must be covered once, without holes: that also shows a file that was cut off or grew. */
function checkLayout(source: FileSource, entries: Map<string, SafetensorsEntry>, dataStart: number): void {
  let end = dataStart;
  const ordered = [...entries].sort(([, a], [, b]) => a.offset - b.offset || a.bytes - b.bytes);
  for (const [name, entry] of ordered) {
    const label = `tensor ${JSON.stringify(name)}`;
    if (entry.offset < end) throw bad(source.name, `${label} overlaps the tensor before it`);
    if (entry.offset > end) throw bad(source.name, `there is a hole before ${label}`);
    end = entry.offset + entry.bytes;
    if (end > source.bytes) {
      throw bad(source.name, `${label} ends at byte ${end} but the file has ${source.bytes}, it was cut off`);
    }
  }
  if (end !== source.bytes)
    throw bad(source.name, `its tensors end at byte ${end} but the file has ${source.bytes}`);
}

/**
 * A safetensors file: 8 bytes header length, JSON header, data. Only the header is kept; tensors are read when asked for.
 * Format: github.com/huggingface/safetensors.
 */
export class SafetensorsFile {
  readonly source: FileSource;
  readonly tensors: ReadonlyMap<string, SafetensorsEntry>;
  readonly metadata: ReadonlyMap<string, string>;

  private constructor(
    source: FileSource,
    tensors: Map<string, SafetensorsEntry>,
    metadata: Map<string, string>,
  ) {
    this.source = source;
    this.tensors = tensors;
    this.metadata = metadata;
  }

  /** Reads and checks the header. @throws AlloyError `bad-file`, or `unsupported` for an unknown dtype */
  static async open(source: FileSource): Promise<SafetensorsFile> {
    const file = source.name;
    if (source.bytes < 10) throw bad(file, `it has ${source.bytes} bytes, too few for a safetensors file`);
    const start = await source.read(0, 8);
    const length = new DataView(start.buffer).getBigUint64(0, true);
    if (length > BigInt(Math.min(maxHeaderBytes, source.bytes - 8)) || length < 2n) {
      throw bad(
        file,
        `its header claims ${length} bytes, which cannot be in a safetensors file of ${source.bytes}`,
      );
    }
    const headerBytes = Number(length);
    const header = parseHeader(file, await source.read(8, headerBytes));
    const dataStart = 8 + headerBytes;
    const tensors = new Map<string, SafetensorsEntry>();
    let metadata = new Map<string, string>();
    for (const [name, value] of Object.entries(header)) {
      if (name === metadataKey) metadata = parseMetadata(file, value);
      else tensors.set(name, parseEntry(file, name, value, dataStart));
    }
    checkLayout(source, tensors, dataStart);
    return new SafetensorsFile(source, tensors, metadata);
  }

  /** @throws AlloyError `bad-file` when there is no such tensor */
  entry(name: string): SafetensorsEntry {
    const entry = this.tensors.get(name);
    if (entry === undefined) {
      throw new AlloyError(
        'bad-file',
        `${this.source.name}: the tensor ${JSON.stringify(name)} is missing; the file does not fit the model's config.`,
      );
    }
    return entry;
  }

  /** @param rows only these, where told; the shape is then theirs */
  async readTensor(name: string, rows?: RowRange): Promise<Tensor> {
    const { dtype, shape, offset, bytes } = this.entry(name);
    const [all = 1, ...rest] = shape;
    if (!rows) return { dtype, shape, bytes: await this.source.read(offset, bytes) };
    const part = byteRange(rows, all, bytes);
    const read = await this.source.read(offset + part.offset, part.length);
    return { dtype, shape: [rows.count, ...rest], bytes: read };
  }

  /** The tensor's elements as f32, row after row; see {@link toFloat32}. */
  async readFloat32(name: string, rows?: RowRange): Promise<Float32Array<ArrayBuffer>> {
    const { dtype, bytes } = await this.readTensor(name, rows);
    return toFloat32(dtype, bytes);
  }
}

/** What is to be written: `read` is called once, when the tensor's turn comes. */
export interface TensorToWrite {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  read(): Promise<Uint8Array<ArrayBuffer>> | Uint8Array<ArrayBuffer>;
}

/**
 * Writes a safetensors file tensor by tensor, wide elements first and then by name, so that every tensor is aligned.
 * @throws AlloyError `internal` when a tensor's bytes do not fit its shape
 */
export async function writeSafetensors(
  sink: ByteSink,
  tensors: readonly TensorToWrite[],
  metadata: Readonly<Record<string, string>> = { format: 'pt' },
): Promise<void> {
  const ordered = [...tensors].sort(
    (a, b) => dtypeBytes[b.dtype] - dtypeBytes[a.dtype] || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0),
  );
  const header: [string, unknown][] = [[metadataKey, metadata]];
  let end = 0;
  for (const { name, dtype, shape } of ordered) {
    const start = end;
    end += elementCount(shape) * dtypeBytes[dtype];
    header.push([name, { dtype, shape, data_offsets: [start, end] }]);
  }
  if (new Set(header.map(([name]) => name)).size !== header.length)
    throw new AlloyError('internal', 'two tensors of a safetensors file have the same name');
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)));
  const padded = Math.ceil(json.length / 8) * 8;
  const head = new Uint8Array(8 + padded).fill(0x20, 8);
  new DataView(head.buffer).setBigUint64(0, BigInt(padded), true);
  head.set(json, 8);
  await sink.write(head);
  for (const tensor of ordered) {
    const bytes = await tensor.read();
    if (bytes.byteLength !== elementCount(tensor.shape) * dtypeBytes[tensor.dtype]) {
      throw new AlloyError(
        'internal',
        `tensor "${tensor.name}" was announced with shape [${tensor.shape.join(', ')}] but has ${bytes.byteLength} bytes`,
      );
    }
    await sink.write(bytes);
  }
}

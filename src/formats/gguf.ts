import { AlloyError, required } from '../util/errors.ts';
import type { FileSource } from '../util/fileSource.ts';
import { byteRange, type RowRange } from '../util/rowRange.ts';
import { dequantize } from './ggufDequantize.ts';
import { badGguf, GgufCursor, type GgufValue } from './ggufReader.ts';
import { type GgufType, ggufTypes } from './ggufTypes.ts';

/** Where a tensor lies in a GGUF file. */
export interface GgufTensor {
  readonly name: string;
  readonly type: GgufType;
  /** Outermost dimension first, as PyTorch has it: a matrix is [out, in]. (The file lists them the other way round.) */
  readonly shape: readonly number[];
  /** The file that it is in: one of several where the model is split. */
  readonly source: FileSource;
  /** First byte in that file. */
  readonly offset: number;
  readonly bytes: number;
}

const magic = 0x46554747;
const maxDimensions = 4;
const defaultAlignment = 32;
/** Their names have five digits. */
const maxParts = 99_999;

async function readMetadata(cursor: GgufCursor, count: number): Promise<Map<string, GgufValue>> {
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < count; i++) {
    const key = await cursor.string(`the name of metadata entry ${i + 1} of ${count}`);
    const label = `the metadata ${JSON.stringify(key)}`;
    if (metadata.has(key)) throw cursor.fail(`${label} is there twice`);
    metadata.set(key, await cursor.value(await cursor.u32(label), label));
  }
  return metadata;
}

interface TensorInfo {
  readonly name: string;
  readonly type: GgufType;
  readonly shape: number[];
  /** From the start of the data part. */
  readonly start: number;
  readonly bytes: number;
}

async function readTensorInfo(cursor: GgufCursor, file: string, index: number): Promise<TensorInfo> {
  const name = await cursor.string(`the name of tensor ${index + 1}`);
  const label = `tensor ${JSON.stringify(name)}`;
  const dimensions = await cursor.u32(label);
  if (dimensions > maxDimensions)
    throw cursor.fail(`${label} claims ${dimensions} dimensions, at most ${maxDimensions} are allowed`);
  const shape: number[] = [];
  for (let d = 0; d < dimensions; d++) shape.unshift(await cursor.u64(label));
  const typeId = await cursor.u32(label);
  const type = ggufTypes.get(typeId);
  if (type === undefined) {
    throw new AlloyError(
      'unsupported',
      `${file}: ${label} has the type number ${typeId}, which Alloy does not know; use a file in another quantization, for example Q4_K_M or Q8_0.`,
    );
  }
  const start = await cursor.u64(label);
  const elements = shape.reduce((product, size) => product * size, 1);
  const rowElements = shape.at(-1) ?? 1;
  if (rowElements % type.blockElements !== 0) {
    throw cursor.fail(
      `${label} has rows of ${rowElements} elements, which is no multiple of the ${type.blockElements} that a block of ${type.name} holds`,
    );
  }
  return { name, type, shape, start, bytes: (elements / type.blockElements) * type.blockBytes };
}

function placeTensors(
  source: FileSource,
  infos: readonly TensorInfo[],
  dataStart: number,
  alignment: number,
): Map<string, GgufTensor> {
  const tensors = new Map<string, GgufTensor>();
  for (const { name, type, shape, start, bytes } of infos) {
    const label = `tensor ${JSON.stringify(name)}`;
    const offset = dataStart + start;
    if (tensors.has(name)) throw badGguf(source.name, `${label} is there twice`);
    if (start % alignment !== 0)
      throw badGguf(source.name, `${label} starts at ${start}, which is no multiple of ${alignment}`);
    if (!(offset + bytes <= source.bytes)) {
      throw badGguf(
        source.name,
        `${label} with shape [${shape.join(', ')}] ends at byte ${offset + bytes} but the file has ${source.bytes}`,
      );
    }
    tensors.set(name, { name, type, shape, source, offset, bytes });
  }
  let end = dataStart;
  for (const tensor of [...tensors.values()].sort((a, b) => a.offset - b.offset || a.bytes - b.bytes)) {
    if (tensor.offset < end)
      throw badGguf(source.name, `tensor ${JSON.stringify(tensor.name)} overlaps the tensor before it`);
    end = tensor.offset + tensor.bytes;
  }
  return tensors;
}

async function readVersion(cursor: GgufCursor, file: string): Promise<number> {
  if ((await cursor.u32('the magic number')) !== magic)
    throw new AlloyError('bad-file', `${file}: it is not a GGUF file; give a file that begins with "GGUF".`);
  const version = await cursor.u32('the version');
  if (version === 2 || version === 3) return version;
  const swapped = (version & 0xffff) === 0;
  const what = swapped ? 'is written for big-endian machines' : `has GGUF version ${version}`;
  throw new AlloyError(
    'unsupported',
    `${file}: it ${what}; convert it again to little-endian GGUF version 3.`,
  );
}

interface Header {
  readonly metadata: Map<string, GgufValue>;
  readonly tensors: Map<string, GgufTensor>;
}

async function readHeader(source: FileSource): Promise<Header> {
  const cursor = new GgufCursor(source);
  await readVersion(cursor, source.name);
  const tensorCount = await cursor.u64('the number of tensors');
  const metadataCount = await cursor.u64('the number of metadata entries');
  if (tensorCount * 24 + metadataCount * 13 > cursor.left) {
    throw cursor.fail(
      `it claims ${tensorCount} tensors and ${metadataCount} metadata entries, more than its ${source.bytes} bytes can hold`,
    );
  }
  const metadata = await readMetadata(cursor, metadataCount);
  const alignment = metadata.get('general.alignment') ?? defaultAlignment;
  if (typeof alignment !== 'number' || ![...Array(21).keys()].some((power) => alignment === 2 ** power))
    throw cursor.fail(`general.alignment is ${String(alignment)}, not a power of two`);
  const infos: TensorInfo[] = [];
  for (let i = 0; i < tensorCount; i++) infos.push(await readTensorInfo(cursor, source.name, i));
  const dataStart = Math.ceil(cursor.position / alignment) * alignment;
  return { metadata, tensors: placeTensors(source, infos, dataStart, alignment) };
}

/** Opens a file beside another one by its name, or gives null where there is none. */
export type OpenBeside = (name: string) => Promise<FileSource | null>;

/** Reads the other parts of a split model. `header` is that of the part `source`; the first part has the metadata. */
async function readParts(
  source: FileSource,
  header: Header,
  count: number,
  openBeside: OpenBeside | undefined,
): Promise<Header & { readonly parts: FileSource[] }> {
  const whole: Header = { metadata: new Map(), tensors: new Map() };
  const parts: FileSource[] = [];
  for (const [index, name] of splitNames(source.name, count).entries()) {
    const own = index === header.metadata.get('split.no');
    const part = own ? source : await openBeside?.(name);
    if (!part) {
      throw new AlloyError(
        'missing-file',
        `${source.name}: it is one of ${count} parts and ${name} is not beside it; put all parts in one folder, or join them with llama-gguf-split --merge.`,
      );
    }
    const { metadata, tensors } = own ? header : await readHeader(part);
    if (metadata.get('split.no') !== index || metadata.get('split.count') !== count)
      throw badGguf(part.name, `its metadata do not say that it is part ${index + 1} of ${count}`);
    for (const [key, value] of metadata) if (index === 0) whole.metadata.set(key, value);
    for (const [tensor, place] of tensors) {
      if (whole.tensors.has(tensor))
        throw badGguf(part.name, `tensor ${JSON.stringify(tensor)} is in another part, too`);
      whole.tensors.set(tensor, place);
    }
    parts.push(part);
  }
  const wanted = whole.metadata.get('split.tensors.count');
  if (typeof wanted === 'number' && wanted !== whole.tensors.size)
    throw badGguf(source.name, `its parts hold ${whole.tensors.size} tensors, not ${wanted}`);
  return { ...whole, parts };
}

/** The names of all parts, as llama-gguf-split gives them. */
function splitNames(name: string, count: number): string[] {
  const stem = /([^\\/]*)-\d{5}-of-\d{5}\.gguf$/iu.exec(name)?.[1];
  const digits = (value: number) => String(value).padStart(5, '0');
  if (stem !== undefined && count <= maxParts)
    return Array.from({ length: count }, (_, i) => `${stem}-${digits(i + 1)}-of-${digits(count)}.gguf`);
  throw new AlloyError(
    'bad-file',
    `${name}: it is one of ${count} parts (split.count) but its name does not end in -00001-of-${digits(count)}.gguf; give the parts their names back.`,
  );
}

/** A GGUF file, version 2 or 3, little-endian. The header is kept; tensors are read when asked for. Format: ggml's docs/gguf.md. */
export class GgufFile {
  /** The file, or the first of several. */
  readonly source: FileSource;
  readonly parts: readonly FileSource[];
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: ReadonlyMap<string, GgufTensor>;

  private constructor(parts: readonly FileSource[], { metadata, tensors }: Header) {
    this.source = required(parts[0], 'first part');
    this.parts = parts;
    this.metadata = metadata;
    this.tensors = tensors;
  }

  /**
   * Reads and checks the header.
   * @param openBeside finds the other parts of a split model
   * @throws AlloyError `bad-file`, `unsupported` (version, type) or `missing-file` (a part)
   */
  static async open(source: FileSource, openBeside?: OpenBeside): Promise<GgufFile> {
    const header = await readHeader(source);
    const count = header.metadata.get('split.count');
    if (typeof count !== 'number' || count <= 1) return new GgufFile([source], header);
    const { parts, ...whole } = await readParts(source, header, count, openBeside);
    return new GgufFile(parts, whole);
  }

  /** @throws AlloyError `bad-file` when there is no such tensor */
  tensor(name: string): GgufTensor {
    const tensor = this.tensors.get(name);
    if (tensor === undefined) {
      throw new AlloyError(
        'bad-file',
        `${this.source.name}: the tensor ${JSON.stringify(name)} is missing; the file does not fit its own metadata, get it again.`,
      );
    }
    return tensor;
  }

  /** The blocks of a tensor as they lie in the file. @param rows of a matrix only these, where told */
  async readRaw(name: string, rows?: RowRange): Promise<Uint8Array<ArrayBuffer>> {
    const { source, offset, bytes, shape } = this.tensor(name);
    if (!rows) return await source.read(offset, bytes);
    const part = byteRange(rows, shape[0] ?? 1, bytes);
    return await source.read(offset + part.offset, part.length);
  }

  /** The tensor dequantized to f32, row after row. @throws AlloyError `unsupported` for types without a dequantizer */
  async readFloat32(name: string): Promise<Float32Array<ArrayBuffer>> {
    const { type, source } = this.tensor(name);
    return dequantize(type.name, await this.readRaw(name), `${source.name}: tensor "${name}"`);
  }
}

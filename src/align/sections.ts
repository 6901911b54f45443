import { AlloyError } from '../util/errors.ts';

/** The typed arrays that a file of sections may hold. */
export type SectionArray = Uint8Array | Uint32Array | Int32Array | Float32Array;

type SectionType = 'u8' | 'u32' | 'i32' | 'f32';

const ALIGNMENT = 8;
const PREAMBLE_BYTES = 16;

/**
 * Packs typed arrays behind a JSON header into one file whose bytes depend on the contents alone, so that its hash
 * names it. Layout, little-endian: magic (8 ASCII bytes), version u32, header length u32, header, then every array in
 * the order of the header, each at a multiple of 8 bytes, gaps zero.
 */
export function packSections(
  magic: string,
  version: number,
  meta: unknown,
  arrays: readonly SectionArray[],
): Uint8Array {
  const header = new TextEncoder().encode(
    JSON.stringify({ meta, sections: arrays.map((array) => [typeOf(array), array.length]) }),
  );
  const start = align(PREAMBLE_BYTES + header.length);
  const total = arrays.reduce((bytes, array) => bytes + align(array.byteLength), start);
  const file = new Uint8Array(total);
  const view = new DataView(file.buffer);
  file.set(new TextEncoder().encode(magic.padEnd(8, ' ')).subarray(0, 8));
  view.setUint32(8, version, true);
  view.setUint32(12, header.length, true);
  file.set(header, PREAMBLE_BYTES);
  let offset = start;
  for (const array of arrays) {
    file.set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), offset);
    offset += align(array.byteLength);
  }
  return file;
}

/**
 * Reads what `packSections` wrote. The arrays are copies.
 * @throws AlloyError `bad-file` where the file is of another kind or version, or shorter than its header says.
 */
export function unpackSections(
  file: Uint8Array,
  magic: string,
  version: number,
  name: string,
): { readonly meta: unknown; readonly arrays: readonly SectionArray[] } {
  const fail = (problem: string): never => {
    throw new AlloyError('bad-file', `${name} ${problem}; delete it and run again.`);
  };
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const found = new TextDecoder('latin1').decode(file.subarray(0, 8));
  if (file.length < PREAMBLE_BYTES || found !== magic.padEnd(8, ' ')) {
    return fail(`does not begin with the mark "${magic}"`);
  }
  const foundVersion = view.getUint32(8, true);
  if (foundVersion !== version) return fail(`has version ${foundVersion} where ${version} is read`);
  const headerBytes = view.getUint32(12, true);
  if (PREAMBLE_BYTES + headerBytes > file.length) return fail('ends inside its header');
  const header = parseHeader(file.subarray(PREAMBLE_BYTES, PREAMBLE_BYTES + headerBytes));
  if (header === undefined) return fail('has a header that is not a list of sections');
  let offset = align(PREAMBLE_BYTES + headerBytes);
  const arrays = header.sections.map(([type, length]) => {
    const bytes = length * (type === 'u8' ? 1 : 4);
    if (offset + bytes > file.length) return fail(`ends at byte ${file.length}, inside a section`);
    const copy = file.slice(offset, offset + bytes).buffer;
    offset += align(bytes);
    return fromBuffer(type, copy);
  });
  return { meta: header.meta, arrays };
}

function align(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

function typeOf(array: SectionArray): SectionType {
  if (array instanceof Uint8Array) return 'u8';
  if (array instanceof Uint32Array) return 'u32';
  return array instanceof Int32Array ? 'i32' : 'f32';
}

function fromBuffer(type: SectionType, buffer: ArrayBuffer): SectionArray {
  switch (type) {
    case 'u8':
      return new Uint8Array(buffer);
    case 'u32':
      return new Uint32Array(buffer);
    case 'i32':
      return new Int32Array(buffer);
    case 'f32':
      return new Float32Array(buffer);
  }
}

function parseHeader(bytes: Uint8Array) {
  try {
    const parsed: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    if (typeof parsed !== 'object' || parsed === null || !('sections' in parsed)) return undefined;
    const { sections } = parsed;
    if (!Array.isArray(sections) || !sections.every(isSection)) return undefined;
    return { meta: 'meta' in parsed ? parsed.meta : undefined, sections };
  } catch {
    return undefined;
  }
}

function isSection(section: unknown): section is [SectionType, number] {
  return (
    Array.isArray(section) &&
    ['u8', 'u32', 'i32', 'f32'].includes(section[0]) &&
    Number.isSafeInteger(section[1]) &&
    section[1] >= 0
  );
}

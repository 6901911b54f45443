import { AlloyError } from '../util/errors.ts';
import { checkRepresentation, type Representation } from './representation.ts';
import { packSections, type SectionArray, unpackSections } from './sections.ts';

const MAGIC = 'alloyrep';
const VERSION = 1;
const ARRAYS_EACH = 9;

/** All conversations of a data set under one model, and what made them. */
export interface RepresentationSet {
  /** Name or hash of the model. */
  readonly model: string;
  readonly conversations: readonly Representation[];
}

interface Meta {
  readonly model: string;
  readonly conversations: readonly { readonly id: string; readonly topK: number }[];
}

/** One artifact for a data set. Only scored rows are written; equal sets give equal bytes. */
export function packRepresentations(set: RepresentationSet): Uint8Array {
  const meta: Meta = {
    model: set.model,
    conversations: set.conversations.map(({ id, topK }) => ({ id, topK })),
  };
  const arrays = set.conversations.flatMap((one) => [
    one.tokens,
    one.segments,
    one.byteEnds,
    one.scored,
    one.segmentBytes,
    gatherRows(one.topIds, one.scored, one.topK),
    gatherRows(one.topLogProbs, one.scored, one.topK),
    gatherRows(one.labelLogProb, one.scored, 1),
    gatherRows(one.boundaryMass, one.scored, 1),
  ]);
  return packSections(MAGIC, VERSION, meta, arrays);
}

/**
 * Reads what `packRepresentations` wrote, and checks it.
 * @throws AlloyError `bad-file` naming the file and the field.
 */
export function unpackRepresentations(file: Uint8Array, name: string): RepresentationSet {
  const { meta, arrays } = unpackSections(file, MAGIC, VERSION, name);
  if (!isMeta(meta) || arrays.length !== meta.conversations.length * ARRAYS_EACH) {
    throw new AlloyError('bad-file', `${name} does not list its conversations; delete it and run again.`);
  }
  const conversations = meta.conversations.map(({ id, topK }, index) => {
    const [tokens, segments, byteEnds, scored, segmentBytes, topIds, topLogProbs, labels, boundary] =
      arrays.slice(index * ARRAYS_EACH, (index + 1) * ARRAYS_EACH);
    const rows = u8(scored, name);
    const one: Representation = {
      id,
      topK,
      tokens: u32(tokens, name),
      segments: i32(segments, name),
      byteEnds: i32(byteEnds, name),
      scored: rows,
      segmentBytes: u32(segmentBytes, name),
      topIds: scatterRows(u32(topIds, name), rows, topK, new Uint32Array(rows.length * topK), name),
      topLogProbs: scatterRows(
        f32(topLogProbs, name),
        rows,
        topK,
        new Float32Array(rows.length * topK).fill(-Infinity),
        name,
      ),
      labelLogProb: scatterRows(f32(labels, name), rows, 1, new Float32Array(rows.length), name),
      boundaryMass: scatterRows(f32(boundary, name), rows, 1, new Float32Array(rows.length), name),
    };
    checkRepresentation(one, `${id} in ${name}`);
    return one;
  });
  return { model: meta.model, conversations };
}

function gatherRows<A extends Uint32Array | Float32Array>(all: A, scored: Uint8Array, width: number): A {
  const kept: number[] = [];
  scored.forEach((flag, row) => {
    if (flag === 1) for (let at = row * width; at < (row + 1) * width; at++) kept.push(all[at] ?? 0);
  });
  const result = all.slice(0, kept.length);
  result.set(kept);
  return result as A;
}

function scatterRows<A extends Uint32Array | Float32Array>(
  kept: A,
  scored: Uint8Array,
  width: number,
  all: A,
  name: string,
): A {
  let from = 0;
  scored.forEach((flag, row) => {
    if (flag !== 1) return;
    all.set(kept.subarray(from, from + width), row * width);
    from += width;
  });
  if (from !== kept.length) damaged(name);
  return all;
}

function damaged(name: string): never {
  throw new AlloyError('bad-file', `${name} has rows that do not fit its tokens; delete it and run again.`);
}

const u8 = (array: SectionArray | undefined, name: string): Uint8Array =>
  array instanceof Uint8Array ? array : damaged(name);
const u32 = (array: SectionArray | undefined, name: string): Uint32Array =>
  array instanceof Uint32Array ? array : damaged(name);
const i32 = (array: SectionArray | undefined, name: string): Int32Array =>
  array instanceof Int32Array ? array : damaged(name);
const f32 = (array: SectionArray | undefined, name: string): Float32Array =>
  array instanceof Float32Array ? array : damaged(name);

function isMeta(meta: unknown): meta is Meta {
  if (typeof meta !== 'object' || meta === null) return false;
  if (!('model' in meta) || typeof meta.model !== 'string') return false;
  if (!('conversations' in meta) || !Array.isArray(meta.conversations)) return false;
  return meta.conversations.every(
    (one: unknown) =>
      typeof one === 'object' &&
      one !== null &&
      'id' in one &&
      typeof one.id === 'string' &&
      'topK' in one &&
      Number.isSafeInteger(one.topK),
  );
}

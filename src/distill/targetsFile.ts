import { packSections, type SectionArray, unpackSections } from '../align/sections.ts';
import { AlloyError } from '../util/errors.ts';
import type { ConversationTargets } from './fusedTargets.ts';

const MAGIC = 'alloytgt';
const VERSION = 1;
const ARRAYS_EACH = 6;

interface Meta {
  readonly width: number;
  readonly conversations: readonly {
    readonly id: string;
    readonly chosen: ConversationTargets['chosen'];
    /** JSON has no NaN: `null` stands for it. */
    readonly pivot: number | null;
    readonly source: number | null;
  }[];
}

/** One artifact for all conversations of a data set (all of one width); equal targets give equal bytes. */
export function packTargets(targets: readonly ConversationTargets[]): Uint8Array {
  const width = targets[0]?.width ?? 0;
  if (targets.some((one) => one.width !== width)) {
    throw new AlloyError('internal', 'Targets of different widths can not share a file.');
  }
  const known = (value: number) => (Number.isFinite(value) ? value : null);
  const meta: Meta = {
    width,
    conversations: targets.map(({ id, chosen, nllPerByte }) => ({
      id,
      chosen,
      pivot: known(nllPerByte.pivot),
      source: known(nllPerByte.source),
    })),
  };
  const arrays = targets.flatMap((one) => [
    one.rows,
    one.ids,
    one.probabilities,
    one.counts,
    one.kinds,
    one.reasons,
  ]);
  return packSections(MAGIC, VERSION, meta, arrays);
}

/**
 * Reads what `packTargets` wrote.
 * @throws AlloyError `bad-file` naming the file.
 */
export function unpackTargets(file: Uint8Array, name: string): readonly ConversationTargets[] {
  const { meta, arrays } = unpackSections(file, MAGIC, VERSION, name);
  if (!isMeta(meta) || arrays.length !== meta.conversations.length * ARRAYS_EACH) return damaged(name);
  const { width } = meta;
  return meta.conversations.map(({ id, chosen, pivot, source }, index) => {
    const [rows, ids, probabilities, counts, kinds, reasons] = arrays.slice(
      index * ARRAYS_EACH,
      (index + 1) * ARRAYS_EACH,
    );
    const one: ConversationTargets = {
      id,
      chosen,
      nllPerByte: { pivot: pivot ?? Number.NaN, source: source ?? Number.NaN },
      width,
      rows: u32(rows, name),
      ids: u32(ids, name),
      probabilities: probabilities instanceof Float32Array ? probabilities : damaged(name),
      counts: u32(counts, name),
      kinds: kinds instanceof Uint8Array ? kinds : damaged(name),
      reasons: reasons instanceof Uint8Array ? reasons : damaged(name),
    };
    const fits =
      one.ids.length === one.rows.length * width &&
      one.probabilities.length === one.ids.length &&
      one.counts.length === one.rows.length &&
      one.kinds.length === one.rows.length &&
      one.counts.every((count) => count <= width);
    return fits ? one : damaged(name);
  });
}

const u32 = (array: SectionArray | undefined, name: string): Uint32Array =>
  array instanceof Uint32Array ? array : damaged(name);

function damaged(name: string): never {
  throw new AlloyError('bad-file', `${name} does not hold fused targets; delete it and run again.`);
}

function isMeta(meta: unknown): meta is Meta {
  if (typeof meta !== 'object' || meta === null) return false;
  if (!('width' in meta) || !Number.isSafeInteger(meta.width)) return false;
  if (!('conversations' in meta) || !Array.isArray(meta.conversations)) return false;
  const number = (value: unknown) => value === null || typeof value === 'number';
  return meta.conversations.every(
    (one: unknown) =>
      typeof one === 'object' &&
      one !== null &&
      'id' in one &&
      typeof one.id === 'string' &&
      'chosen' in one &&
      ['pivot', 'source', 'dropped'].includes(String(one.chosen)) &&
      'pivot' in one &&
      number(one.pivot) &&
      'source' in one &&
      number(one.source),
  );
}

import { ByteIndex } from './byteIndex.ts';
import type { StartCounts } from './startCounts.ts';
import { sameVocabulary, TokenBytes, type Vocabulary } from './vocabulary.ts';

/** How a source token reached the pivot's vocabulary. */
export const MAP_RULES = [
  'same-vocabulary',
  'role',
  'exact',
  'count',
  'first-piece',
  'longest-prefix',
  'one-edit',
  'unmapped',
] as const;

export type MapRule = (typeof MAP_RULES)[number];

/** Rules that may be ordered; roles come first and `unmapped` last in any order. */
export type OrderedRule = Exclude<MapRule, 'same-vocabulary' | 'role' | 'unmapped'>;

/** The default map of the published, renormalised row (methods J6). */
export const PROJECTION_RULES: readonly OrderedRule[] = ['exact', 'count', 'first-piece', 'one-edit'];

/**
 * The map for rows whose entries are claims about probability (the tail loss). A source token v may only count for a
 * pivot token whose bytes begin b(v): then "the text goes on with v" implies "the text goes on with the pivot's
 * token", and every sum of mapped mass is a lower bound of what it stands for. Counts may lead to a longer token and
 * one edit to another string; neither holds up as a bound. Before the longest prefix comes the first piece of the
 * pivot's own encoding: also a prefix, and the one that its text shows where merges do not take the longest match.
 * On 800 GSM8K and AlpacaEval answers it is the pivot's real next token for 97.8–100 % of the source tokens that are
 * longer than any pivot token, the longest prefix for 48–99 % (SmolLM2, Qwen2.5 and Gemma 3, in five pairs).
 */
export const BOUND_RULES: readonly OrderedRule[] = ['exact', 'first-piece', 'longest-prefix'];

export interface VocabularyMapOptions {
  readonly rules?: readonly OrderedRule[];
  /** Needed by the rule `count`. */
  readonly counts?: StartCounts;
  /** A partner must have been seen this often. */
  readonly minimumCount?: number;
}

/** Tokens shorter than this have meaningless neighbours at one edit. */
const MINIMUM_EDIT_BYTES = 4;

/** Source id → pivot id, worked out for the ids that are asked for. */
export class VocabularyMap {
  readonly pivotBytes: TokenBytes;
  readonly sourceBytes: TokenBytes;
  readonly #options: VocabularyMapOptions;
  readonly #index: ByteIndex;
  readonly #same: boolean;
  readonly #sourceEnds: ReadonlySet<number>;
  readonly #known = new Map<number, { readonly id: number; readonly rule: MapRule }>();

  constructor(pivot: Vocabulary, source: Vocabulary, options: VocabularyMapOptions = {}) {
    this.pivotBytes = new TokenBytes(pivot);
    this.sourceBytes = new TokenBytes(source);
    this.#options = options;
    this.#same = sameVocabulary(pivot, source);
    this.#index = new ByteIndex(pivot);
    this.#sourceEnds = new Set(source.endOfTurn);
  }

  /** The pivot id that receives this source id's mass, or −1. */
  target(sourceId: number): number {
    return this.#lookup(sourceId).id;
  }

  /** Which rule led there. */
  rule(sourceId: number): MapRule {
    return this.#lookup(sourceId).rule;
  }

  #lookup(sourceId: number): { readonly id: number; readonly rule: MapRule } {
    let found = this.#known.get(sourceId);
    if (found === undefined) {
      found = this.#map(sourceId);
      this.#known.set(sourceId, found);
    }
    return found;
  }

  #map(sourceId: number): { readonly id: number; readonly rule: MapRule } {
    const pivot = this.pivotBytes.vocabulary;
    if (this.#same && sourceId < pivot.size) return { id: sourceId, rule: 'same-vocabulary' };
    if (this.#sourceEnds.has(sourceId)) {
      const end = pivot.endOfTurn[0];
      return end === undefined ? { id: -1, rule: 'unmapped' } : { id: end, rule: 'role' };
    }
    const bytes = this.sourceBytes.of(sourceId);
    if (bytes === undefined || bytes.length === 0) return { id: -1, rule: 'unmapped' };
    for (const rule of this.#options.rules ?? PROJECTION_RULES) {
      const id = this.#apply(rule, sourceId, bytes);
      if (id >= 0) return { id, rule };
    }
    return { id: -1, rule: 'unmapped' };
  }

  #apply(rule: OrderedRule, sourceId: number, bytes: string): number {
    switch (rule) {
      case 'exact':
        return this.#exact(bytes);
      case 'count': {
        const best = this.#options.counts?.best(sourceId);
        return best !== undefined && best.count >= (this.#options.minimumCount ?? 2) ? best.id : -1;
      }
      case 'first-piece': {
        const first = this.#encode(bytes)?.[0] ?? -1;
        const piece = this.pivotBytes.of(first);
        return piece !== undefined && piece.length > 0 && bytes.startsWith(piece) ? first : -1;
      }
      case 'longest-prefix':
        return this.#index.longestPrefix(bytes);
      case 'one-edit':
        return bytes.length >= MINIMUM_EDIT_BYTES ? this.#index.withinOneEdit(bytes) : -1;
    }
  }

  /** Where several pivot tokens have these bytes, the one that the pivot itself writes. */
  #exact(bytes: string): number {
    const indexed = this.#index.exact(bytes);
    if (indexed < 0) return -1;
    const encoded = this.#encode(bytes);
    const [only] = encoded ?? [];
    return encoded?.length === 1 && only !== undefined && this.pivotBytes.of(only) === bytes ? only : indexed;
  }

  #encode(bytes: string): readonly number[] | undefined {
    return this.pivotBytes.vocabulary.encode?.(Uint8Array.from(bytes, (unit) => unit.charCodeAt(0)));
  }
}

import type { GgufValue } from '../formats/ggufReader.ts';
import { AlloyError } from '../util/errors.ts';
import type { AddedToken } from './tokenizerAddedTokens.ts';
import { MergeTable } from './tokenizerMerges.ts';
import { BpeModel, byteTokens, type Fallback, ScoredBpeModel } from './tokenizerModels.ts';
import type { TokenizerParts } from './tokenizerParts.ts';
import { longestNormalizer } from './tokenizerPrecompiled.ts';
import { type PreTokenizerKind, preTokenizerKind, preTokenizerNames } from './tokenizerPreNames.ts';
import { type NormalizeStep, normalizeSteps, preTokenizer, spaceMark } from './tokenizerSteps.ts';
import { UnigramModel } from './tokenizerUnigram.ts';

type Metadata = ReadonlyMap<string, GgufValue>;

/** Values of `tokenizer.ggml.token_type`. */
export const tokenType = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** Typed access to `tokenizer.ggml.*`; every complaint names file and key. */
export class TokenizerMetadata {
  readonly #metadata: Metadata;
  readonly file: string;

  constructor(metadata: Metadata, file: string) {
    this.#metadata = metadata;
    this.file = file;
  }

  get(key: string): GgufValue | undefined {
    return this.#metadata.get(`tokenizer.ggml.${key}`);
  }

  fail(key: string, what: string): AlloyError {
    return new AlloyError(
      'bad-file',
      `${this.file}: the metadata tokenizer.ggml.${key} ${what}; get the file again.`,
    );
  }

  texts(key: string): readonly string[] {
    const value = this.get(key);
    if (Array.isArray(value) && value.every((entry) => typeof entry === 'string')) return value;
    throw this.fail(key, value === undefined ? 'is missing' : 'is not a list of texts');
  }

  /** One number for each token, or null where the file has none. */
  numbers(key: string, count: number): ArrayLike<number> | null {
    const value = this.get(key);
    if (value === undefined) return null;
    if (!ArrayBuffer.isView(value)) throw this.fail(key, 'is not a list of numbers');
    if (value.length !== count) throw this.fail(key, `has ${value.length} entries for ${count} tokens`);
    return value;
  }

  id(key: string, count: number): number | undefined {
    const value = this.get(key);
    if (value === undefined) return undefined;
    if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < count) return value;
    throw this.fail(key, `is ${String(value)}, no id of its ${count} tokens`);
  }

  /** Bytes of any length, or null where the file has none. */
  bytes(key: string): Uint8Array | null {
    const value = this.get(key);
    if (value === undefined) return null;
    if (value instanceof Uint8Array) return value.length === 0 ? null : value;
    if (value instanceof Int8Array) return new Uint8Array(value.buffer, value.byteOffset, value.length);
    throw this.fail(key, 'is not a list of bytes');
  }

  flag(key: string): boolean | undefined {
    const value = this.get(key);
    return typeof value === 'boolean' ? value : undefined;
  }
}

/** What all kinds of vocabularies have. */
export interface Tables {
  readonly tokens: readonly string[];
  readonly types: ArrayLike<number> | null;
  /** Every text with its id; the lowest where two are alike. */
  readonly ids: ReadonlyMap<string, number>;
}

/** The type of a token, normal where the file does not say. */
export function typeOf({ types }: Tables, id: number): number {
  return types?.[id] ?? tokenType.normal;
}

function idsOfType(tables: Tables, type: number): number[] {
  return tables.tokens.flatMap((_, id) => (typeOf(tables, id) === type ? [id] : []));
}

/** Control tokens and those that a user defined: found before all others. */
export function addedTokens(tables: Tables): AddedToken[] {
  return tables.tokens.flatMap((content, id): AddedToken[] => {
    const type = typeOf(tables, id);
    if (type !== tokenType.control && type !== tokenType.userDefined) return [];
    const special = type === tokenType.control;
    return [
      { id, content, special, normalized: false, stripLeft: false, stripRight: false, wholeWord: false },
    ];
  });
}

function readMerges(metadata: TokenizerMetadata, { ids }: Tables): MergeTable {
  const merges = metadata.texts('merges');
  const table = new MergeTable(merges.length);
  for (const [index, merge] of merges.entries()) {
    const space = merge.indexOf(' ', 1);
    const left = ids.get(merge.slice(0, space));
    const right = ids.get(merge.slice(space + 1));
    const merged = ids.get(merge.slice(0, space) + merge.slice(space + 1));
    if (space < 0 || left === undefined || right === undefined || merged === undefined)
      throw metadata.fail('merges', `has ${JSON.stringify(merge)} at ${index}, which is no pair of tokens`);
    table.add(left, right, merged);
  }
  return table;
}

/** SentencePiece finds user-defined tokens in the text after spaces became marks; the file may have either in them. */
function withOtherSpaces(added: readonly AddedToken[]): AddedToken[] {
  return added.flatMap((token) => {
    const marked = token.content.replaceAll(' ', spaceMark);
    const spaced = token.content.replaceAll(spaceMark, ' ');
    return [...new Set([token.content, marked, spaced])].map((content) => ({ ...token, content }));
  });
}

type Method = Pick<
  TokenizerParts,
  | 'writing'
  | 'byteIds'
  | 'added'
  | 'normalize'
  | 'preTokenize'
  | 'model'
  | 'leadingSpace'
  | 'stripsOnDecode'
  | 'addBos'
>;

/** What `pre` says. @throws AlloyError `unsupported` for a name that is not known */
export function preTokenizerOf(metadata: TokenizerMetadata): PreTokenizerKind {
  const name = metadata.get('pre') ?? 'default';
  const kind = typeof name === 'string' ? preTokenizerKind(name) : undefined;
  if (kind !== undefined) return kind;
  throw new AlloyError(
    'unsupported',
    `${metadata.file}: the metadata tokenizer.ggml.pre is ${JSON.stringify(name)}, which Alloy does not know; it reads ${preTokenizerNames.join(', ')}.`,
  );
}

/** `gpt2`: byte-level BPE by merges. */
function byteLevelMethod(metadata: TokenizerMetadata, tables: Tables): Method {
  const kind = preTokenizerOf(metadata);
  const fallback: Fallback = { bytes: null, unknown: undefined, fuseUnknown: false };
  return {
    writing: 'byteLevel',
    byteIds: new Set(),
    added: addedTokens(tables),
    normalize: normalizeSteps(kind.normalizer, metadata.file),
    preTokenize: preTokenizer({ type: 'Sequence', pretokenizers: kind.steps }, metadata.file),
    model: new BpeModel(tables.ids, readMerges(metadata, tables), fallback, kind.wholeFirst),
    leadingSpace: false,
    stripsOnDecode: null,
    addBos: kind.addBos,
  };
}

/** Tokens that may be found in a text, by text. */
export function findableTokens(tables: Tables): Map<string, number> {
  const found = new Map<string, number>();
  for (const [text, id] of tables.ids) {
    const type = typeOf(tables, id);
    if (type === tokenType.normal || type === tokenType.userDefined) found.set(text, id);
  }
  return found;
}

/** The id that stands for text that is no token. */
export function unknownId(metadata: TokenizerMetadata, tables: Tables): number | undefined {
  const [unknown] = idsOfType(tables, tokenType.unknown);
  return metadata.id('unknown_token_id', tables.tokens.length) ?? unknown;
}

/** One score for each token. @throws AlloyError `bad-file` where there are none */
export function scoresOf(metadata: TokenizerMetadata, { tokens }: Tables): ArrayLike<number> {
  const scores = metadata.numbers('scores', tokens.length);
  if (scores === null) throw metadata.fail('scores', 'is missing');
  return scores;
}

/** Leading and trailing spaces are taken away, runs of them become one. */
function withoutExtraSpaces(text: string): string {
  return text
    .replace(/ {2,}/gu, ' ')
    .replace(/^ /u, '')
    .replace(/[ ▁]+$/u, '');
}

/** How SentencePiece prepares a text: its character map, extra spaces, the space in front, marks for spaces. */
function sentencePieceSteps(metadata: TokenizerMetadata, leadingSpace: boolean): NormalizeStep[] {
  const steps: NormalizeStep[] = [];
  const map = metadata.bytes('precompiled_charsmap');
  if (map !== null) steps.push({ kind: 'text', apply: longestNormalizer(map, metadata.file) });
  if (metadata.flag('remove_extra_whitespaces') === true)
    steps.push({ kind: 'text', apply: withoutExtraSpaces });
  if (leadingSpace) steps.push({ kind: 'prefix', apply: (input) => (input === '' ? '' : ` ${input}`) });
  steps.push({ kind: 'space', apply: (input) => input.replaceAll(' ', spaceMark) });
  return steps;
}

/** `llama` and `t5`: SentencePiece BPE by scores, or unigram; characters that are no token become bytes. */
function sentencePieceMethod(metadata: TokenizerMetadata, tables: Tables, kind: 'llama' | 't5'): Method {
  const { tokens, ids } = tables;
  const scores = scoresOf(metadata, tables);
  const findable = findableTokens(tables);
  const byteIds = new Set(idsOfType(tables, tokenType.byte));
  const fallback: Fallback = {
    bytes: byteIds.size > 0 || kind === 'llama' ? byteTokens(ids) : null,
    unknown: unknownId(metadata, tables),
    fuseUnknown: true,
  };
  const leadingSpace = metadata.flag('add_space_prefix') ?? true;
  return {
    writing: 'sentencePiece',
    byteIds,
    added: withOtherSpaces(addedTokens(tables)),
    normalize: sentencePieceSteps(metadata, leadingSpace),
    preTokenize: (input) => [input],
    model:
      kind === 't5'
        ? new UnigramModel(findable, scores, fallback)
        : new ScoredBpeModel(tokens, findable, scores, fallback),
    leadingSpace,
    stripsOnDecode: leadingSpace ? 'space' : null,
    addBos: kind === 'llama',
  };
}

function methodOf(metadata: TokenizerMetadata, tables: Tables): Method {
  const model = metadata.get('model');
  if (model === 'gpt2') return byteLevelMethod(metadata, tables);
  if (model === 'llama' || model === 't5') return sentencePieceMethod(metadata, tables, model);
  throw new AlloyError(
    'unsupported',
    `${metadata.file}: the metadata tokenizer.ggml.model is ${JSON.stringify(model) ?? 'missing'}, which Alloy does not know; it reads gpt2 (byte-level BPE), llama (SentencePiece BPE) and t5 (unigram).`,
  );
}

/** The tables of a vocabulary. @throws AlloyError `bad-file` */
export function readTables(metadata: TokenizerMetadata): Tables {
  const tokens = metadata.texts('tokens');
  const ids = new Map<string, number>();
  for (const [id, text] of tokens.entries()) if (!ids.has(text)) ids.set(text, id);
  return { tokens, ids, types: metadata.numbers('token_type', tokens.length) };
}

/**
 * The parts of the tokenizer in a GGUF file's metadata.
 * @throws AlloyError `bad-file`, or `unsupported` naming the metadata key
 */
export function partsFromGguf(metadata: Metadata, file: string): TokenizerParts {
  const own = new TokenizerMetadata(metadata, file);
  const tables = readTables(own);
  const { tokens } = tables;
  const method = methodOf(own, tables);
  const bos = own.id('bos_token_id', tokens.length);
  const eot = own.id('eot_token_id', tokens.length);
  const template = metadata.get('tokenizer.chat_template');
  return {
    ...method,
    file,
    tokens,
    unused: new Set(idsOfType(tables, tokenType.unused)),
    bos,
    eos: own.id('eos_token_id', tokens.length),
    pad: own.id('padding_token_id', tokens.length),
    unk: unknownId(own, tables),
    endOfTurn: eot === undefined ? [] : [eot],
    addBos: (own.flag('add_bos_token') ?? method.addBos) && bos !== undefined,
    chatTemplate: typeof template === 'string' && template !== '' ? template : null,
    templateOrigin: `${file}, the metadata tokenizer.chat_template`,
  };
}

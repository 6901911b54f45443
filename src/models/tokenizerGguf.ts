import type { GgufValue } from '../formats/ggufReader.ts';
import { AlloyError } from '../util/errors.ts';
import type { AddedToken } from './tokenizerAddedTokens.ts';
import { MergeTable } from './tokenizerMerges.ts';
import { BpeModel, byteTokens, type Fallback, ScoredBpeModel } from './tokenizerModels.ts';
import type { TokenizerParts } from './tokenizerParts.ts';
import {
  gpt2Pattern,
  type NormalizeStep,
  normalizeSteps,
  preTokenizer,
  spaceMark,
} from './tokenizerSteps.ts';

type Metadata = ReadonlyMap<string, GgufValue>;

/** Values of `tokenizer.ggml.token_type`. */
const tokenType = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const words = '[^\\r\\n\\p{L}\\p{N}]?\\p{L}+';
const rest = ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const split = (Regex: string) => ({
  type: 'Split',
  pattern: { Regex },
  behavior: 'Isolated',
  invert: false,
});
const byteLevel = (useRegex: boolean) => ({
  type: 'ByteLevel',
  add_prefix_space: false,
  use_regex: useRegex,
});

interface PreTokenizerKind {
  readonly steps: readonly object[];
  readonly normalizer: object | null;
  /** A piece that is a token is not cut. */
  readonly wholeFirst: boolean;
  readonly addBos: boolean;
}

const gpt2: PreTokenizerKind = {
  steps: [split(gpt2Pattern), byteLevel(false)],
  normalizer: null,
  wholeFirst: false,
  addBos: false,
};

/** What the names of `tokenizer.ggml.pre` mean; the file itself does not say (and Qwen's NFC stands nowhere in it). */
const preTokenizers: Readonly<Record<string, PreTokenizerKind>> = {
  default: gpt2,
  'gpt-2': gpt2,
  smollm: {
    ...gpt2,
    steps: [{ type: 'Digits', individual_digits: true }, split(gpt2Pattern), byteLevel(false)],
  },
  qwen2: {
    ...gpt2,
    steps: [split(`${contractions}|${words}|\\p{N}|${rest}`), byteLevel(false)],
    normalizer: { type: 'NFC' },
  },
  'llama-bpe': {
    steps: [split(`${contractions}|${words}|\\p{N}{1,3}|${rest}`), byteLevel(false)],
    normalizer: null,
    wholeFirst: true,
    addBos: true,
  },
};

/** Other names for the same rules. */
const aliases: Readonly<Record<string, string>> = {
  llama3: 'llama-bpe',
  'llama-v3': 'llama-bpe',
  starcoder: 'smollm',
  'deepseek-r1-qwen': 'qwen2',
};

/** Typed access to `tokenizer.ggml.*`; every complaint names file and key. */
class TokenizerMetadata {
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

  flag(key: string): boolean | undefined {
    const value = this.get(key);
    return typeof value === 'boolean' ? value : undefined;
  }
}

interface Tables {
  readonly tokens: readonly string[];
  readonly types: ArrayLike<number> | null;
  /** Every text with its id; the lowest where two are alike. */
  readonly ids: ReadonlyMap<string, number>;
}

function typeOf({ types }: Tables, id: number): number {
  return types?.[id] ?? tokenType.normal;
}

function idsOfType(tables: Tables, type: number): number[] {
  return tables.tokens.flatMap((_, id) => (typeOf(tables, id) === type ? [id] : []));
}

function addedTokens(tables: Tables): AddedToken[] {
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

/** `gpt2`: byte-level BPE by merges. */
function byteLevelMethod(metadata: TokenizerMetadata, tables: Tables): Method {
  const name = metadata.get('pre') ?? 'default';
  const kind =
    typeof name === 'string' && Object.hasOwn(preTokenizers, aliases[name] ?? name)
      ? preTokenizers[aliases[name] ?? name]
      : undefined;
  if (kind === undefined) {
    throw new AlloyError(
      'unsupported',
      `${metadata.file}: the metadata tokenizer.ggml.pre is ${JSON.stringify(name)}, which Alloy does not know; it reads ${Object.keys(preTokenizers).join(', ')}.`,
    );
  }
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

/** `llama`: SentencePiece BPE by scores, characters that are no token as bytes. */
function sentencePieceMethod(metadata: TokenizerMetadata, tables: Tables): Method {
  const { tokens, ids } = tables;
  const scores = metadata.numbers('scores', tokens.length);
  if (scores === null) throw metadata.fail('scores', 'is missing');
  const mergeable = new Map<string, number>();
  for (const [text, id] of ids) {
    const type = typeOf(tables, id);
    if (type === tokenType.normal || type === tokenType.userDefined) mergeable.set(text, id);
  }
  const [unknown] = idsOfType(tables, tokenType.unknown);
  const fallback: Fallback = {
    bytes: byteTokens(ids),
    unknown: metadata.id('unknown_token_id', tokens.length) ?? unknown,
    fuseUnknown: true,
  };
  const leadingSpace = metadata.flag('add_space_prefix') ?? true;
  const normalize: NormalizeStep[] = [{ kind: 'space', apply: (input) => input.replaceAll(' ', spaceMark) }];
  if (leadingSpace) normalize.unshift({ kind: 'prefix', apply: (input) => ` ${input}` });
  return {
    writing: 'sentencePiece',
    byteIds: new Set(idsOfType(tables, tokenType.byte)),
    added: withOtherSpaces(addedTokens(tables)),
    normalize,
    preTokenize: (input) => [input],
    model: new ScoredBpeModel(tokens, mergeable, scores, fallback),
    leadingSpace,
    stripsOnDecode: leadingSpace ? 'space' : null,
    addBos: true,
  };
}

/**
 * The parts of the tokenizer in a GGUF file's metadata.
 * @throws AlloyError `bad-file`, or `unsupported` naming the metadata key
 */
export function partsFromGguf(metadata: Metadata, file: string): TokenizerParts {
  const own = new TokenizerMetadata(metadata, file);
  const model = own.get('model');
  if (model !== 'gpt2' && model !== 'llama') {
    throw new AlloyError(
      'unsupported',
      `${file}: the metadata tokenizer.ggml.model is ${JSON.stringify(model) ?? 'missing'}, which Alloy does not know; it reads gpt2 (byte-level BPE) and llama (SentencePiece).`,
    );
  }
  const tokens = own.texts('tokens');
  const ids = new Map<string, number>();
  for (const [id, text] of tokens.entries()) if (!ids.has(text)) ids.set(text, id);
  const tables: Tables = { tokens, ids, types: own.numbers('token_type', tokens.length) };
  const method = model === 'gpt2' ? byteLevelMethod(own, tables) : sentencePieceMethod(own, tables);
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
    unk: own.id('unknown_token_id', tokens.length),
    endOfTurn: eot === undefined ? [] : [eot],
    addBos: (own.flag('add_bos_token') ?? method.addBos) && bos !== undefined,
    chatTemplate: typeof template === 'string' && template !== '' ? template : null,
    templateOrigin: `${file}, the metadata tokenizer.chat_template`,
  };
}

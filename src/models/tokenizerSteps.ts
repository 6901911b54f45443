/**
 * Normalizers and pre-tokenizers of tokenizer.json as functions. Normalization forms and the translation of Oniguruma
 * expressions come from @huggingface/tokenizers; what that library does by halves (behaviours of `Split`, Unicode digits,
 * `split` of Metaspace) is done here.
 */
import {
  BertNormalizer,
  LowercaseNormalizer,
  NFCNormalizer,
  NFDNormalizer,
  NFKCNormalizer,
  NFKDNormalizer,
  PrecompiledNormalizer,
  ReplaceNormalizer,
  SplitPreTokenizer,
  StripAccentsNormalizer,
  StripNormalizer,
} from '@huggingface/tokenizers';
import { AlloyError } from '../util/errors.ts';
import { toByteLevel } from './tokenizerBytes.ts';

/** The space of SentencePiece, U+2581. */
export const spaceMark = '▁';

/** One step of normalization. */
export interface NormalizeStep {
  /** `text` steps change what the text says (NFC, lower case); `space` steps only write spaces as marks; `prefix` adds one. */
  readonly kind: 'text' | 'space' | 'prefix';
  apply(text: string): string;
}

/** Where a piece of text stands: only some places get a leading space. */
export interface PiecePlace {
  /** The piece opens the whole text. */
  readonly first: boolean;
  /** False in the middle of a text, where no leading space may be added. */
  readonly prefix: boolean;
}

export type PreTokenizeStep = (text: string, place: PiecePlace) => string[];

type Json = Readonly<Record<string, unknown>>;

export function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** An error for a part of tokenizer.json that Alloy does not know. */
export function unknownPart(file: string, field: string, value: unknown): AlloyError {
  return new AlloyError(
    'unsupported',
    `${file}: ${field} is ${JSON.stringify(value) ?? 'missing'}, which Alloy does not know; use a model with a byte-level BPE or SentencePiece tokenizer.`,
  );
}

function text(value: unknown, file: string, field: string): string {
  if (typeof value === 'string') return value;
  throw new AlloyError('bad-file', `${file}: ${field} is not a text; get the file again.`);
}

/** Steps of a `Sequence`, or the one step itself. */
function listOf(config: Json, key: string, file: string, field: string): Json[] {
  if (config.type !== 'Sequence') return [config];
  const list = config[key];
  if (Array.isArray(list) && list.every(isJson)) return list;
  throw new AlloyError('bad-file', `${file}: ${field}.${key} is not a list of objects; get the file again.`);
}

type NormalizerClass = new (config: never) => { normalize(text: string): string };

const normalizers: ReadonlyMap<string, NormalizerClass> = new Map<string, NormalizerClass>([
  ['NFC', NFCNormalizer],
  ['NFD', NFDNormalizer],
  ['NFKC', NFKCNormalizer],
  ['NFKD', NFKDNormalizer],
  ['Lowercase', LowercaseNormalizer],
  ['StripAccents', StripAccentsNormalizer],
  ['Strip', StripNormalizer],
  ['Replace', ReplaceNormalizer],
  ['BertNormalizer', BertNormalizer],
  ['Precompiled', PrecompiledNormalizer],
]);

function patternText(config: Json): string | undefined {
  return isJson(config.pattern) && typeof config.pattern.String === 'string'
    ? config.pattern.String
    : undefined;
}

function replaceStep(config: Json, file: string, field: string): NormalizeStep {
  const content = text(config.content, file, `${field}.content`);
  const from = patternText(config);
  if (from !== undefined) {
    const kind = from === ' ' && content === spaceMark ? 'space' : 'text';
    return { kind, apply: (input) => input.split(from).join(content) };
  }
  const step = new ReplaceNormalizer({ ...config, content: content.replaceAll('$', '$$$$') } as never);
  return { kind: 'text', apply: (input) => step.normalize(input) };
}

/** The steps of `normalizer`. @throws AlloyError `unsupported` naming the field */
export function normalizeSteps(config: unknown, file: string, field = 'normalizer'): NormalizeStep[] {
  if (config === null || config === undefined) return [];
  if (!isJson(config)) throw unknownPart(file, field, config);
  return listOf(config, 'normalizers', file, field).flatMap((step): NormalizeStep[] => {
    if (step.type === 'Sequence') return normalizeSteps(step, file, field);
    if (step.type === 'Prepend') {
      const prefix = text(step.prepend, file, `${field}.prepend`);
      return [{ kind: 'prefix', apply: (input) => prefix + input }];
    }
    if (step.type === 'Replace') return [replaceStep(step, file, field)];
    const Class = normalizers.get(String(step.type));
    if (Class === undefined) throw unknownPart(file, `${field}.type`, step.type);
    const instance = new Class(step as never);
    return [{ kind: 'text', apply: (input) => instance.normalize(input) }];
  });
}

/** Compiles `{Regex}` or `{String}`; @throws AlloyError `unsupported` for an expression that JavaScript cannot express */
function compile(pattern: unknown, file: string, field: string): RegExp {
  try {
    const compiled = new SplitPreTokenizer({ type: 'Split', pattern, behavior: 'Isolated' } as never).pattern;
    if (compiled !== null) return compiled;
  } catch (error) {
    throw new AlloyError(
      'unsupported',
      `${file}: ${field} is an expression that Alloy cannot run (${error instanceof Error ? error.message : ''}); use a model with another tokenizer.`,
      { cause: error },
    );
  }
  throw unknownPart(file, field, pattern);
}

/** Matches and what is between them, in order. */
function cut(input: string, pattern: RegExp): { text: string; match: boolean }[] {
  const pieces: { text: string; match: boolean }[] = [];
  let end = 0;
  for (const found of input.matchAll(pattern)) {
    if (found[0] === '') continue;
    if (found.index > end) pieces.push({ text: input.slice(end, found.index), match: false });
    pieces.push({ text: found[0], match: true });
    end = found.index + found[0].length;
  }
  if (end < input.length) pieces.push({ text: input.slice(end), match: false });
  return pieces;
}

const behaviors = ['Isolated', 'Removed', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous'] as const;
type Behavior = (typeof behaviors)[number];

/** Splits at matches of a pattern; `behavior` says what becomes of the matches. */
function splitAt(input: string, pattern: RegExp, behavior: Behavior, invert: boolean): string[] {
  const pieces = cut(input, pattern).map((piece) => ({ ...piece, match: piece.match !== invert }));
  const result: string[] = [];
  let before: boolean | undefined;
  for (const { text: piece, match } of pieces) {
    const last = result.length - 1;
    const joins =
      last >= 0 &&
      ((behavior === 'MergedWithPrevious' && match && before === false) ||
        (behavior === 'MergedWithNext' && !match && before === true) ||
        (behavior === 'Contiguous' && match && before === true));
    if (joins) result[last] += piece;
    else if (behavior !== 'Removed' || !match) result.push(piece);
    before = match;
  }
  return result;
}

function splitStep(config: Json, file: string, field: string): PreTokenizeStep {
  const behavior = behaviors.find((name) => name === config.behavior);
  if (behavior === undefined) throw unknownPart(file, `${field}.behavior`, config.behavior);
  const pattern = compile(config.pattern, file, `${field}.pattern`);
  return (input) => splitAt(input, pattern, behavior, config.invert === true);
}

/** GPT-2's expression. */
export const gpt2Pattern =
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

function byteLevelStep(config: Json, file: string, field: string): PreTokenizeStep {
  const pattern = config.use_regex === false ? null : compile({ Regex: gpt2Pattern }, file, field);
  return (input, { prefix }) => {
    const spaced = config.add_prefix_space === true && prefix && !input.startsWith(' ') ? ` ${input}` : input;
    const pieces = pattern === null ? [spaced] : splitAt(spaced, pattern, 'Isolated', false);
    return pieces.map(toByteLevel);
  };
}

/** `always`, `first` or `never`; older files say `add_prefix_space`. */
export function prependScheme(config: Json): string {
  if (typeof config.prepend_scheme === 'string') return config.prepend_scheme;
  return config.add_prefix_space === false ? 'never' : 'always';
}

function metaspaceStep(config: Json, file: string, field: string): PreTokenizeStep {
  if ((config.replacement ?? spaceMark) !== spaceMark)
    throw unknownPart(file, `${field}.replacement`, config.replacement);
  const scheme = prependScheme(config);
  return (input, { first, prefix }) => {
    const marked = input.replaceAll(' ', spaceMark);
    const wanted = prefix && (scheme === 'always' || (scheme === 'first' && first));
    const spaced = wanted && !marked.startsWith(spaceMark) ? spaceMark + marked : marked;
    return config.split === false ? [spaced] : splitAt(spaced, /▁/gu, 'MergedWithNext', false);
  };
}

function preTokenizeStep(config: Json, file: string, field: string): PreTokenizeStep {
  switch (config.type) {
    case 'ByteLevel':
      return byteLevelStep(config, file, field);
    case 'Metaspace':
      return metaspaceStep(config, file, field);
    case 'Split':
      return splitStep(config, file, field);
    case 'Digits': {
      const pattern = config.individual_digits === true ? /\p{N}/gu : /\p{N}+/gu;
      return (input) => splitAt(input, pattern, 'Isolated', false);
    }
    case 'Punctuation': {
      const behavior = behaviors.find((name) => name === (config.behavior ?? 'Isolated'));
      if (behavior === undefined) throw unknownPart(file, `${field}.behavior`, config.behavior);
      return (input) => splitAt(input, /[\p{P}!-/:-@[-`{-~]/gu, behavior, false);
    }
    case 'Whitespace': {
      const pattern = compile({ Regex: '\\w+|[^\\w\\s]+' }, file, field);
      return (input) => splitAt(input, pattern, 'Removed', true);
    }
    case 'WhitespaceSplit':
      return (input) => splitAt(input, /\p{White_Space}+/gu, 'Removed', false);
    default:
      throw unknownPart(file, `${field}.type`, config.type);
  }
}

/** `pre_tokenizer` as one function. @throws AlloyError `unsupported` naming the field */
export function preTokenizer(config: unknown, file: string, field = 'pre_tokenizer'): PreTokenizeStep {
  if (config === null || config === undefined) return (input) => [input];
  if (!isJson(config)) throw unknownPart(file, field, config);
  const steps = listOf(config, 'pretokenizers', file, field).map((step) =>
    step.type === 'Sequence' ? preTokenizer(step, file, field) : preTokenizeStep(step, file, field),
  );
  return (input, place) =>
    steps.reduce((pieces, step) => pieces.flatMap((piece) => step(piece, place)), [input]);
}

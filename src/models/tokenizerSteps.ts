/**
 * Normalizers and pre-tokenizers of tokenizer.json as functions, with what the library `tokenizers` makes of them. Expressions
 * are translated by `tokenizerRegex.ts`.
 */
import { BertNormalizer } from '@huggingface/tokenizers';
import { AlloyError } from '../util/errors.ts';
import { toByteLevel } from './tokenizerBytes.ts';
import { charactersFromBase64, precompiledNormalizer } from './tokenizerPrecompiled.ts';
import { gpt2Pattern } from './tokenizerPreNames.ts';
import { compileOniguruma, literalPattern } from './tokenizerRegex.ts';

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

const leadingSpace = /^\p{White_Space}+/u;
const trailingSpace = /\p{White_Space}+$/u;
/** What SentencePiece's `nmt` rules make of a character: nothing, a space, or itself. */
function nmt(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  if (nmtSpaces.has(character)) return ' ';
  const removed = (code >= 1 && code < 0x20) || code === 0x7f || code === 0x8f || code === 0x9f;
  return removed ? '' : character;
}
const nmtSpaces = new Set('\t\n\f\r\u1680\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u2581\ufeff\ufffd');

/** Normalizers without settings. */
const plainNormalizers: Readonly<Record<string, (text: string) => string>> = {
  NFC: (text) => text.normalize('NFC'),
  NFD: (text) => text.normalize('NFD'),
  NFKC: (text) => text.normalize('NFKC'),
  NFKD: (text) => text.normalize('NFKD'),
  // Character by character: the whole text would give a final sigma its own form.
  Lowercase: (text) => Array.from(text, (character) => character.toLowerCase()).join(''),
  StripAccents: (text) => text.replace(/\p{Mn}/gu, ''),
  Nmt: (text) => Array.from(text, nmt).join(''),
  ByteLevel: toByteLevel,
};

/** A normalizer other than those that write spaces. */
function textNormalizer(config: Json, file: string, field: string): (text: string) => string {
  const name = String(config.type);
  const plain = Object.hasOwn(plainNormalizers, name) ? plainNormalizers[name] : undefined;
  if (plain !== undefined) return plain;
  switch (name) {
    case 'Strip':
      return (input) => {
        const left = config.strip_left === false ? input : input.replace(leadingSpace, '');
        return config.strip_right === false ? left : left.replace(trailingSpace, '');
      };
    case 'Precompiled': {
      const map = text(config.precompiled_charsmap ?? '', file, `${field}.precompiled_charsmap`);
      return map === '' ? (input) => input : precompiledNormalizer(charactersFromBase64(map, file), file);
    }
    case 'BertNormalizer': {
      const step = new BertNormalizer(config as never);
      return (input) => step.normalize(input);
    }
    default:
      throw unknownPart(file, `${field}.type`, config.type);
  }
}

function replaceStep(config: Json, file: string, field: string): NormalizeStep {
  const content = text(config.content, file, `${field}.content`);
  const { pattern } = config;
  const literal = isJson(pattern) && pattern.String === ' ' && content === spaceMark;
  const expression = compile(pattern, file, `${field}.pattern`);
  return { kind: literal ? 'space' : 'text', apply: (input) => input.replace(expression, () => content) };
}

/** The steps of `normalizer`. @throws AlloyError `unsupported` naming the field */
export function normalizeSteps(config: unknown, file: string, field = 'normalizer'): NormalizeStep[] {
  if (config === null || config === undefined) return [];
  if (!isJson(config)) throw unknownPart(file, field, config);
  return listOf(config, 'normalizers', file, field).flatMap((step): NormalizeStep[] => {
    if (step.type === 'Sequence') return normalizeSteps(step, file, field);
    if (step.type === 'Prepend') {
      const prefix = text(step.prepend, file, `${field}.prepend`);
      return [{ kind: 'prefix', apply: (input) => (input === '' ? '' : prefix + input) }];
    }
    if (step.type === 'Replace') return [replaceStep(step, file, field)];
    return [{ kind: 'text', apply: textNormalizer(step, file, field) }];
  });
}

/** Compiles `{Regex}` or `{String}`; @throws AlloyError `unsupported` for an expression that JavaScript cannot express */
function compile(pattern: unknown, file: string, field: string): RegExp {
  if (!isJson(pattern)) throw unknownPart(file, field, pattern);
  if (typeof pattern.String === 'string') return literalPattern(pattern.String);
  if (typeof pattern.Regex !== 'string') throw unknownPart(file, field, pattern);
  try {
    return compileOniguruma(pattern.Regex);
  } catch (error) {
    throw new AlloyError(
      'unsupported',
      `${file}: ${field} is an expression that Alloy cannot run (${error instanceof Error ? error.message : ''}); use a model with another tokenizer.`,
      { cause: error },
    );
  }
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

const punctuation = /[\p{P}!-/:-@[-`{-~]/gu;
/** Words, and what is neither word nor white space, in the classes of UTS #18. */
const whitespaceWords =
  /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]+|[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}\p{White_Space}]+/gu;

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
      return (input) => splitAt(input, punctuation, behavior, false);
    }
    case 'Whitespace':
      return (input) => splitAt(input, whitespaceWords, 'Removed', true);
    case 'WhitespaceSplit':
      return (input) => splitAt(input, /\p{White_Space}/gu, 'Removed', false);
    case 'BertPreTokenizer':
      return (input) =>
        splitAt(input, /\p{White_Space}/gu, 'Removed', false).flatMap((piece) =>
          splitAt(piece, punctuation, 'Isolated', false),
        );
    case 'CharDelimiterSplit': {
      const delimiter = literalPattern(text(config.delimiter, file, `${field}.delimiter`));
      return (input) => splitAt(input, delimiter, 'Removed', false);
    }
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

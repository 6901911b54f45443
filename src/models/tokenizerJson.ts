import { AlloyError } from '../util/errors.ts';
import type { AddedToken } from './tokenizerAddedTokens.ts';
import { MergeTable } from './tokenizerMerges.ts';
import { BpeModel, byteTokens, type Fallback, type TokenModel } from './tokenizerModels.ts';
import type { TokenizerParts } from './tokenizerParts.ts';
import { isJson, normalizeSteps, prependScheme, preTokenizer, unknownPart } from './tokenizerSteps.ts';
import { UnigramModel } from './tokenizerUnigram.ts';

type Json = Readonly<Record<string, unknown>>;

/** No vocabulary in use comes near; a larger id can only be a damaged file. */
const maxId = 1 << 24;

function bad(file: string, what: string): AlloyError {
  return new AlloyError('bad-file', `${file}: ${what}; get the file again.`);
}

function isId(value: unknown): value is number {
  return Number.isInteger(value) && Number(value) >= 0 && Number(value) < maxId;
}

/** The configurations of a tree of `Sequence`s, flat. */
function flatten(config: unknown): Json[] {
  if (!isJson(config)) return [];
  const lists = [config.normalizers, config.pretokenizers, config.decoders, config.processors];
  return [config, ...lists.filter(Array.isArray).flatMap((list) => list.flatMap(flatten))];
}

const hasType = (config: unknown, type: string) => flatten(config).some((step) => step.type === type);

interface Vocabulary {
  readonly vocabulary: Map<string, number>;
  /** Every token's text, also of those whose text another one has, too. */
  readonly texts: (string | undefined)[];
  readonly scores: number[];
}

function readVocabulary(file: string, model: Json): Vocabulary {
  const vocabulary = new Map<string, number>();
  const texts: (string | undefined)[] = [];
  const scores: number[] = [];
  if (Array.isArray(model.vocab)) {
    for (const [id, entry] of model.vocab.entries()) {
      if (!Array.isArray(entry) || typeof entry[0] !== 'string' || typeof entry[1] !== 'number')
        throw bad(file, `model.vocab[${id}] is not [text, score]`);
      vocabulary.set(entry[0], id);
      texts[id] = entry[0];
      scores.push(entry[1]);
    }
  } else if (isJson(model.vocab)) {
    for (const [token, id] of Object.entries(model.vocab)) {
      if (!isId(id)) throw bad(file, `model.vocab gives ${JSON.stringify(token)} no id`);
      vocabulary.set(token, id);
      texts[id] = token;
    }
  } else throw bad(file, 'model.vocab is missing');
  return { vocabulary, texts, scores };
}

function readMerges(file: string, model: Json, vocabulary: ReadonlyMap<string, number>): MergeTable {
  const { merges } = model;
  if (!Array.isArray(merges)) throw bad(file, 'model.merges is missing');
  const table = new MergeTable(merges.length);
  for (const [index, merge] of merges.entries()) {
    const pair: unknown = typeof merge === 'string' ? merge.split(' ') : merge;
    const [left, right] = Array.isArray(pair) && pair.length === 2 ? pair : [];
    const leftId = vocabulary.get(left);
    const rightId = vocabulary.get(right);
    const merged = vocabulary.get(`${left}${right}`);
    if (leftId === undefined || rightId === undefined || merged === undefined)
      throw bad(file, `model.merges[${index}] ${JSON.stringify(merge)} is no pair of tokens of model.vocab`);
    table.add(leftId, rightId, merged);
  }
  return table;
}

/** The id that stands for text that is no token. */
function unknownOf(model: Json, vocabulary: ReadonlyMap<string, number>): number | undefined {
  if (typeof model.unk_token === 'string') return vocabulary.get(model.unk_token);
  return isId(model.unk_id) ? model.unk_id : undefined;
}

function readModel(
  file: string,
  model: Json,
  vocabulary: ReadonlyMap<string, number>,
  scores: readonly number[],
): TokenModel {
  for (const field of ['continuing_subword_prefix', 'end_of_word_suffix'])
    if (model[field]) throw unknownPart(file, `model.${field}`, model[field]);
  const kind = model.type ?? (Array.isArray(model.vocab) ? 'Unigram' : 'BPE');
  const fallback: Fallback = {
    bytes: model.byte_fallback === true ? byteTokens(vocabulary) : null,
    unknown: unknownOf(model, vocabulary),
    fuseUnknown: kind === 'Unigram' || model.fuse_unk === true,
  };
  if (kind === 'BPE')
    return new BpeModel(
      vocabulary,
      readMerges(file, model, vocabulary),
      fallback,
      model.ignore_merges === true,
    );
  if (kind === 'Unigram' && vocabulary.size === 0) throw bad(file, 'model.vocab is empty');
  if (kind === 'Unigram') return new UnigramModel(vocabulary, scores, fallback);
  throw unknownPart(file, 'model.type', kind);
}

function addedToken(file: string, value: unknown, id: unknown): AddedToken {
  if (!isJson(value) || typeof value.content !== 'string' || !isId(id))
    throw bad(file, 'added_tokens has an entry without id or content');
  const special = value.special === true;
  return {
    id,
    content: value.content,
    special,
    normalized: typeof value.normalized === 'boolean' ? value.normalized : !special,
    stripLeft: value.lstrip === true,
    stripRight: value.rstrip === true,
    wholeWord: value.single_word === true,
  };
}

/** `added_tokens` of tokenizer.json, and those that only tokenizer_config.json has. */
function readAddedTokens(file: string, json: Json, config: Json): AddedToken[] {
  const list: unknown = json.added_tokens ?? [];
  if (!Array.isArray(list)) throw bad(file, 'added_tokens is not a list');
  const added = new Map<number, AddedToken>();
  for (const value of list) {
    const token = addedToken(file, value, isJson(value) ? value.id : undefined);
    added.set(token.id, token);
  }
  if (isJson(config.added_tokens_decoder)) {
    for (const [id, value] of Object.entries(config.added_tokens_decoder)) {
      if (!added.has(Number(id))) added.set(Number(id), addedToken(file, value, Number(id)));
    }
  }
  return [...added.values()];
}

/** The text of `bos_token` and the like: a string, or an object with `content`. */
function tokenText(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  return isJson(value) && typeof value.content === 'string' ? value.content : undefined;
}

const usualNames = {
  bos: ['<s>', '<bos>', '<|begin_of_text|>', '<|startoftext|>'],
  eos: ['</s>', '<eos>', '<|end_of_text|>', '<|endoftext|>', '<|im_end|>'],
  pad: ['<pad>', '<|pad|>', '[PAD]'],
  unk: ['<unk>', '[UNK]'],
} as const;

/** The id of a role: what tokenizer_config.json says, else a special token with a usual name. */
function roleId(
  role: keyof typeof usualNames,
  config: Json,
  ids: ReadonlyMap<string, number>,
  added: readonly AddedToken[],
): number | undefined {
  const key = `${role}_token`;
  if (key in config) return ids.get(tokenText(config[key]) ?? '');
  const names: readonly string[] = usualNames[role];
  return added.find((token) => token.special && names.includes(token.content))?.id;
}

/** The special token that the post-processor puts before a text. */
function leadingSpecial(json: Json, ids: ReadonlyMap<string, number>): number | undefined {
  const template = flatten(json.post_processor).find((step) => step.type === 'TemplateProcessing');
  const [first] = Array.isArray(template?.single) ? template.single : [];
  const special = isJson(first) && isJson(first.SpecialToken) ? first.SpecialToken.id : undefined;
  return typeof special === 'string' ? ids.get(special) : undefined;
}

function stripsOnDecode(decoder: unknown): 'mark' | 'space' | null {
  for (const step of flatten(decoder)) {
    if (step.type === 'Metaspace' && prependScheme(step) !== 'never') return 'mark';
    if (step.type === 'Strip' && step.content === ' ' && Number(step.start) > 0) return 'space';
  }
  return null;
}

function readChatTemplate({ chat_template: template }: Json, file: string): string | null {
  if (typeof template === 'string') return template === '' ? null : template;
  if (template === undefined || template === null) return null;
  if (!Array.isArray(template)) throw bad(file, 'chat_template is neither a text nor a list of named ones');
  const named = template.filter(isJson);
  const chosen = named.find((entry) => entry.name === 'default') ?? named[0];
  return typeof chosen?.template === 'string' ? chosen.template : null;
}

/**
 * The parts of a Hugging Face tokenizer.
 * @param json parsed tokenizer.json
 * @param config parsed tokenizer_config.json, or null where there is none
 * @throws AlloyError `bad-file`, or `unsupported` naming the JSON field
 */
export function partsFromJson(
  json: unknown,
  config: unknown,
  file: string,
  configFile: string,
): TokenizerParts {
  if (!isJson(json) || !isJson(json.model)) throw bad(file, 'model is missing, it is no tokenizer.json');
  const settings = isJson(config) ? config : {};
  const { model } = json;
  const { vocabulary, texts: tokens, scores } = readVocabulary(file, model);
  const added = readAddedTokens(file, json, settings);
  const ids = new Map([...vocabulary, ...added.map((token) => [token.content, token.id] as const)]);
  for (const { content, id } of added) tokens[id] = content;
  const normalize = normalizeSteps(json.normalizer, file);
  const spaces = normalize.some((step) => step.kind === 'space');
  const byteLevel = hasType(json.pre_tokenizer, 'ByteLevel') || hasType(json.decoder, 'ByteLevel');
  const marks = ['Metaspace', 'ByteFallback'].some(
    (type) => hasType(json.decoder, type) || hasType(json.pre_tokenizer, type),
  );
  if (!byteLevel && !marks && !spaces && model.byte_fallback !== true)
    throw unknownPart(file, 'decoder.type', isJson(json.decoder) ? json.decoder.type : json.decoder);
  const leading = leadingSpecial(json, ids);
  const bos = roleId('bos', settings, ids, added) ?? leading;
  const addBos = typeof settings.add_bos_token === 'boolean' ? settings.add_bos_token : leading !== undefined;
  const preSteps = flatten(json.pre_tokenizer);
  return {
    file,
    tokens: Array.from(tokens),
    writing: byteLevel ? 'byteLevel' : 'sentencePiece',
    byteIds: new Set(
      byteLevel || model.byte_fallback !== true
        ? []
        : byteTokens(vocabulary).filter((id) => id !== undefined),
    ),
    unused: new Set(),
    added,
    normalize,
    preTokenize: preTokenizer(json.pre_tokenizer, file),
    model: readModel(file, model, vocabulary, scores),
    leadingSpace:
      normalize.some((step) => step.kind === 'prefix') ||
      preSteps.some((step) => step.type === 'Metaspace' && prependScheme(step) !== 'never') ||
      preSteps.some((step) => step.type === 'ByteLevel' && step.add_prefix_space === true),
    stripsOnDecode: stripsOnDecode(json.decoder),
    bos,
    eos: roleId('eos', settings, ids, added),
    pad: roleId('pad', settings, ids, added),
    unk: roleId('unk', settings, ids, added) ?? unknownOf(model, vocabulary),
    endOfTurn: [],
    addBos: addBos && bos !== undefined,
    chatTemplate: readChatTemplate(settings, configFile),
    templateOrigin: configFile,
  };
}

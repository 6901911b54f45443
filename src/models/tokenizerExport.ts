/**
 * The tokenizer of a GGUF file as the files of a Hugging Face folder, so that a folder made from it is complete. SentencePiece's
 * BPE by scores becomes merges in the order of the scores, which cut alike unless two merges of one token meet.
 */
import type { GgufValue } from '../formats/ggufReader.ts';
import type { AddedToken } from './tokenizerAddedTokens.ts';
import {
  addedTokens,
  findableTokens,
  preTokenizerOf,
  readTables,
  scoresOf,
  type Tables,
  TokenizerMetadata,
  tokenType,
  typeOf,
  unknownId,
} from './tokenizerGguf.ts';
import { spaceMark } from './tokenizerSteps.ts';

type Json = Record<string, unknown>;

/** Contents of `tokenizer.json` and `tokenizer_config.json`. */
export interface TokenizerFiles {
  readonly tokenizer: Json;
  readonly config: Json;
}

const markSpaces = { type: 'Replace', pattern: { String: ' ' }, content: spaceMark };
const unmarkSpaces = { type: 'Replace', pattern: { String: spaceMark }, content: ' ' };

/** Where two tokens have one text the first has it; a name of its own keeps the other one's place. */
function uniqueTexts({ tokens, ids }: Tables): string[] {
  return tokens.map((text, id) => (ids.get(text) === id ? text : `<duplicate ${id}>`));
}

function vocabularyOf(tables: Tables): Record<string, number> {
  return Object.fromEntries(uniqueTexts(tables).map((text, id) => [text, id] as const));
}

/** Every cut of a token into two tokens, best token first; cuts of one token in the order of their parts. */
function mergesOf(metadata: TokenizerMetadata, tables: Tables): [string, string][] {
  const scores = scoresOf(metadata, tables);
  const findable = findableTokens(tables);
  const merges: { left: string; right: string; score: number; leftId: number; rightId: number }[] = [];
  for (const [text, id] of findable) {
    const characters = Array.from(text);
    let left = '';
    for (const character of characters.slice(0, -1)) {
      left += character;
      const leftId = findable.get(left);
      const rightId = findable.get(text.slice(left.length));
      if (leftId === undefined || rightId === undefined) continue;
      merges.push({ left, right: text.slice(left.length), score: scores[id] ?? 0, leftId, rightId });
    }
  }
  merges.sort((a, b) => b.score - a.score || a.leftId - b.leftId || a.rightId - b.rightId);
  return merges.map(({ left, right }) => [left, right]);
}

function base64(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

function sequence(key: string, steps: readonly object[]): object | null {
  return steps.length > 1 ? { type: 'Sequence', [key]: steps } : (steps[0] ?? null);
}

function byteLevelParts(metadata: TokenizerMetadata, tables: Tables): Json {
  const { steps, normalizer, wholeFirst } = preTokenizerOf(metadata);
  return {
    normalizer,
    pre_tokenizer: sequence('pretokenizers', steps),
    decoder: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: wholeFirst,
      vocab: vocabularyOf(tables),
      merges: metadata.texts('merges').map((merge) => {
        const space = merge.indexOf(' ', 1);
        return [merge.slice(0, space), merge.slice(space + 1)];
      }),
    },
  };
}

/** What comes before the space in front: the character map and the removal of extra spaces. */
function sentencePieceNormalizers(metadata: TokenizerMetadata): object[] {
  const map = metadata.bytes('precompiled_charsmap');
  const steps: object[] = map === null ? [] : [{ type: 'Precompiled', precompiled_charsmap: base64(map) }];
  if (metadata.flag('remove_extra_whitespaces') !== true) return steps;
  const replace = (Regex: string, content: string) => ({ type: 'Replace', pattern: { Regex }, content });
  return [...steps, replace(' {2,}', ' '), replace('\\A |[ ▁]+\\z', '')];
}

function sentencePieceParts(metadata: TokenizerMetadata, tables: Tables, kind: 'llama' | 't5'): Json {
  const prefix = metadata.flag('add_space_prefix') ?? true;
  const bytes = tables.tokens.some((_, id) => typeOf(tables, id) === tokenType.byte);
  const unknown = unknownId(metadata, tables);
  const normalizers = [
    ...sentencePieceNormalizers(metadata),
    ...(prefix ? [{ type: 'Prepend', prepend: spaceMark }] : []),
    markSpaces,
  ];
  const scores = kind === 't5' ? scoresOf(metadata, tables) : null;
  const model = scores
    ? {
        type: 'Unigram',
        unk_id: unknown ?? null,
        vocab: uniqueTexts(tables).map((text, id) => [text, scores[id] ?? 0]),
        byte_fallback: bytes,
      }
    : {
        type: 'BPE',
        dropout: null,
        unk_token: unknown === undefined ? null : (tables.tokens[unknown] ?? null),
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: true,
        byte_fallback: bytes,
        ignore_merges: false,
        vocab: vocabularyOf(tables),
        merges: mergesOf(metadata, tables),
      };
  const decoders = [unmarkSpaces, { type: 'ByteFallback' }, { type: 'Fuse' }];
  const strip = { type: 'Strip', content: ' ', start: 1, stop: 0 };
  return {
    normalizer: sequence('normalizers', normalizers),
    pre_tokenizer: null,
    decoder: { type: 'Sequence', decoders: prefix ? [...decoders, strip] : decoders },
    model,
  };
}

function addedEntry({ id, content, special }: AddedToken): Json {
  // Tokens of marks for spaces are looked for after spaces became marks.
  const normalized = !special && content.includes(spaceMark);
  return { id, content, single_word: false, lstrip: false, rstrip: false, normalized, special };
}

/** Puts BOS before every text. */
function beginWith(token: string, id: number): Json {
  const bos = { SpecialToken: { id: token, type_id: 0 } };
  const text = (part: string, type: number) => ({ Sequence: { id: part, type_id: type } });
  return {
    type: 'TemplateProcessing',
    single: [bos, text('A', 0)],
    pair: [bos, text('A', 0), { SpecialToken: { id: token, type_id: 1 } }, text('B', 1)],
    special_tokens: { [token]: { id: token, ids: [id], tokens: [token] } },
  };
}

/**
 * @param addBos whether texts begin with BOS, see `Tokenizer.addBos`
 * @throws AlloyError as `Tokenizer.fromGguf`
 */
export function tokenizerFilesOf(
  metadata: ReadonlyMap<string, GgufValue>,
  file: string,
  addBos: boolean,
): TokenizerFiles {
  const own = new TokenizerMetadata(metadata, file);
  const tables = readTables(own);
  const kind = own.get('model');
  const parts =
    kind === 'gpt2'
      ? byteLevelParts(own, tables)
      : sentencePieceParts(own, tables, kind === 't5' ? 't5' : 'llama');
  const role = (key: string) => {
    const id = own.id(`${key}_token_id`, tables.tokens.length);
    return id === undefined ? undefined : tables.tokens[id];
  };
  const bosId = own.id('bos_token_id', tables.tokens.length);
  const bos = role('bos');
  const roles = {
    bos_token: bos,
    eos_token: role('eos'),
    pad_token: role('padding'),
    unk_token: role('unknown'),
  };
  return {
    tokenizer: {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: addedTokens(tables).map(addedEntry),
      ...parts,
      post_processor: addBos && bos !== undefined && bosId !== undefined ? beginWith(bos, bosId) : null,
    },
    config: {
      tokenizer_class: 'PreTrainedTokenizerFast',
      add_bos_token: addBos,
      clean_up_tokenization_spaces: false,
      ...Object.fromEntries(Object.entries(roles).filter(([, token]) => token !== undefined)),
    },
  };
}

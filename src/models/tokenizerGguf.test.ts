import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { GgufValue } from '../formats/ggufReader.ts';
import { Tokenizer } from './tokenizer.ts';
import { tokenizerFilesOf } from './tokenizerExport.ts';
import { preTokenizerKind } from './tokenizerPreNames.ts';
import { normalizeSteps, preTokenizer } from './tokenizerSteps.ts';

function fixture<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`../../fixtures/tokenizers/${name}.json`, import.meta.url), 'utf8'));
}

interface Kind {
  readonly pre_tokenizer: unknown;
  readonly normalizer: unknown;
  readonly gguf: readonly string[];
  readonly pieces: readonly string[];
}

const pre = fixture<{ texts: string[]; kinds: Record<string, Kind> }>('pre-tokenizers');
const place = { first: true, prefix: true };

function piecesOf(preTokenizerJson: unknown, normalizer: unknown): string[] {
  const cut = preTokenizer(preTokenizerJson, 't.json');
  const steps = normalizeSteps(normalizer, 't.json');
  return pre.texts.map((text) =>
    cut(
      steps.reduce((value, step) => step.apply(value), text),
      place,
    ).join(' '),
  );
}

describe.each(Object.entries(pre.kinds))('%s', (_, { pre_tokenizer, normalizer, gguf, pieces }) => {
  test('cuts as the original library', () => {
    expect(piecesOf(pre_tokenizer, normalizer)).toEqual(pieces);
  });

  test.each(gguf)('is what %s means', (name) => {
    const { steps, normalizer: own } = preTokenizerKind(name)!;
    expect(piecesOf({ type: 'Sequence', pretokenizers: steps }, own)).toEqual(pieces);
  });
});

const models =
  fixture<Record<string, { metadata: Record<string, unknown>; cases: [string, number[]][] }>>('gguf');
const arrays: Record<string, (values: number[]) => GgufValue> = {
  scores: (values) => Float32Array.from(values),
  token_type: (values) => Int32Array.from(values),
  precompiled_charsmap: (values) => Uint8Array.from(values),
};

function metadataOf(name: string): Map<string, GgufValue> {
  return new Map(
    Object.entries(models[name]!.metadata).map(([key, value]) => [
      `tokenizer.ggml.${key}`,
      arrays[key]?.(value as number[]) ?? (value as GgufValue),
    ]),
  );
}

describe.each(Object.entries(models))('SentencePiece: %s', (name, { cases }) => {
  const tokenizer = Tokenizer.fromGguf(metadataOf(name), 'm.gguf');

  test('ids are those of sentencepiece', () => {
    for (const [text, ids] of cases)
      expect(tokenizer.encode(text, { special: false }), JSON.stringify(text)).toEqual(ids);
  });

  test('the files of a Hugging Face folder give the same ids', () => {
    const { tokenizer: json, config } = tokenizerFilesOf(metadataOf(name), 'm.gguf', tokenizer.addBos);
    const written = Tokenizer.fromJson(JSON.parse(JSON.stringify(json)), config, 't.json');
    expect(written.specials).toEqual(tokenizer.specials);
    expect([written.addBos, written.vocabSize]).toEqual([tokenizer.addBos, tokenizer.vocabSize]);
    for (const [text] of cases) {
      // The unigram model of tokenizer.json finds its control and byte tokens in a text, sentencepiece does not.
      if (name.startsWith('t5') && /<(s|\/s|unk|0x\w\w)>/u.test(text)) continue;
      expect(written.encode(text), JSON.stringify(text)).toEqual(tokenizer.encode(text));
      expect(written.decode(written.encode(text))).toEqual(tokenizer.decode(tokenizer.encode(text)));
    }
  });
});

test('byte-level vocabularies as files', () => {
  const tokens = ['<s>', 'Ġ', 'a', 'b', 'ab', 'Ġab', '0', '1', '<|x|>'];
  const metadata = new Map<string, GgufValue>([
    ['tokenizer.ggml.model', 'gpt2'],
    ['tokenizer.ggml.pre', 'llama-bpe'],
    ['tokenizer.ggml.tokens', tokens],
    ['tokenizer.ggml.token_type', Int32Array.of(3, 1, 1, 1, 1, 1, 1, 1, 4)],
    ['tokenizer.ggml.merges', ['a b', 'Ġ ab']],
    ['tokenizer.ggml.bos_token_id', 0],
  ]);
  const own = Tokenizer.fromGguf(metadata, 'm.gguf');
  const { tokenizer, config } = tokenizerFilesOf(metadata, 'm.gguf', own.addBos);
  const written = Tokenizer.fromJson(tokenizer, config, 't.json');
  for (const text of ['ab ab', '<s>ab<|x|>a01', ' ab'])
    expect(written.encode(text)).toEqual(own.encode(text));
  expect([written.addBos, written.specials.bos]).toEqual([true, 0]);
});

import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { GgufValue } from '../formats/ggufReader.ts';
import { AlloyError } from '../util/errors.ts';
import { DecodeStream, Tokenizer } from './tokenizer.ts';

interface Fixture {
  tokenizer: Record<string, unknown> & { model: Record<string, unknown> };
  config: Record<string, unknown>;
  cases: { text: string; ids: number[]; decoded?: string }[];
}

const names = [
  ...['byte-level', 'digits', 'gpt4-nfc', 'gemma-like', 'llama2-like'],
  ...['metaspace-first', 'metaspace-always', 'unigram'],
];
/** Their tokens give every text back, so offsets must be found for all of them. */
const lossless = new Set(names.slice(0, 5));
const utf8 = new TextEncoder();

function fixture(name: string): Fixture {
  const path = new URL(`../../fixtures/tokenizers/${name}.json`, import.meta.url);
  return JSON.parse(readFileSync(path, 'utf8'));
}

function load(name: string): Tokenizer {
  const { tokenizer, config } = fixture(name);
  return Tokenizer.fromJson(tokenizer, config, `${name}/tokenizer.json`);
}

describe.each(names)('%s', (name) => {
  const tokenizer = load(name);
  const { cases } = fixture(name);

  test('ids and decoding are those of the original library', () => {
    for (const { text, ids, decoded } of cases) {
      expect(tokenizer.encode(text), JSON.stringify(text)).toEqual(ids);
      expect(tokenizer.decode(ids), JSON.stringify(text)).toBe(decoded ?? text);
    }
  });

  test('spans cover the text in order', () => {
    for (const { text, ids } of cases) {
      const spans = tokenizer.byteSpans(ids, text);
      if (!spans.ok) {
        expect(lossless.has(name), `${JSON.stringify(text)}: ${spans.reason}`).toBe(false);
        expect(ids).toContain(tokenizer.specials.unk);
        continue;
      }
      ids.forEach((_, i) => {
        expect(spans.starts[i]).toBe(i === 0 ? 0 : spans.ends[i - 1]);
        expect(spans.ends[i]).toBeGreaterThanOrEqual(spans.starts[i]!);
      });
      if (ids.length > 0) expect(spans.ends.at(-1)).toBe(utf8.encode(text).length);
    }
  });

  test('any text: spans hold the bytes of their tokens', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 40 });
    fc.assert(
      fc.property(text, (sample) => {
        const ids = tokenizer.encode(sample);
        const spans = tokenizer.byteSpans(ids, sample);
        if (!spans.ok || tokenizer.normalizes) return;
        const bytes = utf8.encode(sample);
        ids.forEach((id, i) => {
          if (tokenizer.addedToken(id) !== undefined) return;
          const found = [...bytes.subarray(spans.starts[i], spans.ends[i])];
          const wanted = [...tokenizer.bytesOf(id)];
          const added = wanted[0] === 0x20 && found.length === wanted.length - 1;
          expect(sample.includes('▁') || found.join() === wanted.slice(added ? 1 : 0).join()).toBe(true);
        });
      }),
      { numRuns: 150, seed: 3 },
    );
  });
});

describe('byte-level', () => {
  const tokenizer = load('byte-level');

  test('special tokens as text', () => {
    const [whole] = tokenizer.encode('<|im_end|>');
    expect(tokenizer.encode('<|im_end|>')).toEqual([tokenizer.idOf('<|im_end|>')]);
    const pieces = tokenizer.encode('<|im_end|>', { special: false });
    expect(pieces).not.toContain(whole);
    expect(tokenizer.decode(pieces)).toBe('<|im_end|>');
  });

  test('special tokens have a role and no bytes', () => {
    const id = tokenizer.idOf('<|im_end|>')!;
    expect([tokenizer.isSpecial(id), tokenizer.bytesOf(id).length]).toEqual([true, 0]);
    expect(tokenizer.decode([id], { skipSpecial: true })).toBe('');
    expect(tokenizer.specials).toMatchObject({ bos: 1, eos: 2, unk: 0, pad: undefined });
    expect(tokenizer.addBos).toBe(true);
    expect([...tokenizer.bytesOf(tokenizer.idOf('Ġthe')!)]).toEqual([...utf8.encode(' the')]);
    expect(tokenizer.bytesOf(99_999).length).toBe(0);
  });

  test('a character is held back until it is complete', () => {
    const ids = tokenizer.encode('🙂!');
    expect(ids.length).toBeGreaterThan(2);
    const stream = new DecodeStream(tokenizer);
    const pieces = ids.map((id) => stream.push(id));
    expect(pieces.join('')).toBe('🙂!');
    expect(pieces.every((piece) => !piece.includes('\ufffd'))).toBe(true);
    const cut = new DecodeStream(tokenizer);
    expect(cut.push(ids[0]!) + cut.end()).toBe('\ufffd');
  });

  test('BOS before a text has an empty span; the beginning of a text is enough', () => {
    const text = 'the crew sings';
    const ids = tokenizer.encode(text);
    const spans = tokenizer.byteSpans([1, ...ids.slice(0, 2)], text);
    expect(spans).toMatchObject({ ok: true });
    expect([...tokenizer.byteEnds([1, ...ids], text)!].at(0)).toBe(0);
    expect(tokenizer.byteEnds(ids, 'another text')).toBeNull();
  });
});

describe('normalization', () => {
  const tokenizer = load('gpt4-nfc');

  test('offsets are those of the text before it', () => {
    const text = 'cafe\u0301 ok';
    const ids = tokenizer.encode(text);
    expect(ids).toEqual(tokenizer.encode('caf\u00e9 ok'));
    const ends = tokenizer.byteEnds(ids, text)!;
    expect(ends.at(-1)).toBe(utf8.encode(text).length);
    const inside = [4, 5];
    expect([...ends].some((end) => inside.includes(end))).toBe(false);
    expect([...ends]).toContain(6);
  });
});

describe('SentencePiece', () => {
  test('the space before the text has no width, a real one has', () => {
    const tokenizer = load('llama2-like');
    const plain = tokenizer.encode('the crew');
    expect(tokenizer.tokenText(plain[0]!).startsWith('▁')).toBe(true);
    expect([...tokenizer.byteEnds(plain, 'the crew')!].at(-1)).toBe(8);
    const spaced = tokenizer.encode(' the crew');
    const ends = [...tokenizer.byteEnds(spaced, ' the crew')!];
    expect(ends.at(-1)).toBe(9);
    expect(tokenizer.decode(spaced)).toBe(' the crew');
  });

  test('in the middle of a text no space is added', () => {
    const tokenizer = load('llama2-like');
    const ids = tokenizer.encode('crew', { start: false });
    expect(tokenizer.decode(ids, { start: false })).toBe('crew');
    expect(tokenizer.decode(tokenizer.encode('crew'), { start: false })).toBe(' crew');
  });

  test('bytes of a character', () => {
    const tokenizer = load('gemma-like');
    const ids = tokenizer.encode('🫠');
    expect(ids.map((id) => tokenizer.tokenText(id))).toEqual(['<0xF0>', '<0x9F>', '<0xAB>', '<0xA0>']);
    expect(ids.every((id) => tokenizer.isByteFallback(id))).toBe(true);
    expect([...tokenizer.byteEnds(ids, '🫠')!]).toEqual([1, 2, 3, 4]);
    expect(tokenizer.decode(ids)).toBe('🫠');
  });
});

describe('end of turn', () => {
  const chatMl =
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}";
  const withTemplate = (template: unknown) => {
    const { tokenizer, config } = fixture('byte-level');
    return Tokenizer.fromJson(tokenizer, { ...config, chat_template: template }, 't.json');
  };

  test('is what the chat template writes', () => {
    const tokenizer = withTemplate(chatMl);
    const id = tokenizer.idOf('<|im_end|>');
    expect(tokenizer.specials.endOfTurn).toBe(id);
    expect(tokenizer.stopIds).toEqual([id, 2]);
    expect(withTemplate([{ name: 'default', template: chatMl }]).chatTemplate).toBe(chatMl);
  });

  test('is EOS without one, or where it cannot be rendered', () => {
    expect(load('byte-level').specials.endOfTurn).toBe(2);
    expect(withTemplate('{{ raise_exception("no") }}').stopIds).toEqual([2]);
  });
});

describe('GGUF', () => {
  const bytes = Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`);
  const words = ['▁', 'h', 'e', 'l', 'o', '▁h', 'el', 'lo', 'hel', '▁hel', '▁hello', 'hello', '  ', '\n'];
  const tokens = ['<unk>', '<s>', '</s>', ...bytes, ...words];
  const userDefined = ['  ', '\n'];
  const types = tokens.map((text, id) => {
    if (id < 3) return id === 0 ? 2 : 3;
    if (bytes.includes(text)) return 6;
    return userDefined.includes(text) ? 4 : 1;
  });
  const metadata = (extra: Record<string, GgufValue> = {}): Map<string, GgufValue> =>
    new Map<string, GgufValue>(
      Object.entries({
        'tokenizer.ggml.model': 'llama',
        'tokenizer.ggml.tokens': tokens,
        'tokenizer.ggml.token_type': Int32Array.from(types),
        'tokenizer.ggml.scores': Float32Array.from(tokens, (_, id) => -id),
        'tokenizer.ggml.bos_token_id': 1,
        'tokenizer.ggml.eos_token_id': 2,
        'tokenizer.ggml.unknown_token_id': 0,
        ...extra,
      }),
    );
  const texts = (tokenizer: Tokenizer, text: string) =>
    tokenizer.encode(text).map((id) => tokenizer.tokenText(id));

  test('merges by score, bytes for what is no token, whole words first', () => {
    const tokenizer = Tokenizer.fromGguf(metadata(), 'm.gguf');
    expect(tokenizer.addBos).toBe(true);
    // ▁h (−264) before el (−265) before lo (−266); ▁h + el has no token of its own but ▁hel (−268) has.
    expect(texts(tokenizer, 'hello')).toEqual(['▁hello']);
    expect(texts(tokenizer, 'hellé')).toEqual(['▁hel', 'l', '<0xC3>', '<0xA9>']);
    expect(texts(tokenizer, 'o</s>')).toEqual(['▁', 'o', '</s>']);
    const plain = Tokenizer.fromGguf(metadata({ 'tokenizer.ggml.add_space_prefix': false }), 'm.gguf');
    expect(texts(plain, 'h\n   o')).toEqual(['h', '\n', '  ', '▁', 'o']);
    expect(plain.decode(plain.encode('h\n   o'))).toBe('h\n   o');
  });

  test.each<[string, Record<string, GgufValue>, RegExp, string]>([
    ['model', { 'tokenizer.ggml.model': 'bert' }, /tokenizer\.ggml\.model is "bert"/, 'unsupported'],
    [
      'pre-tokenizer',
      { 'tokenizer.ggml.model': 'gpt2', 'tokenizer.ggml.pre': 'chameleon' },
      /tokenizer\.ggml\.pre is "chameleon"/,
      'unsupported',
    ],
    ['scores', { 'tokenizer.ggml.scores': Float32Array.of(1) }, /scores has 1 entries for 273/, 'bad-file'],
    ['tokens', { 'tokenizer.ggml.tokens': 7 }, /tokens is not a list/, 'bad-file'],
    ['an id outside', { 'tokenizer.ggml.bos_token_id': 5000 }, /bos_token_id is 5000/, 'bad-file'],
    [
      'merges',
      { 'tokenizer.ggml.model': 'gpt2', 'tokenizer.ggml.merges': ['h zz'] },
      /merges has "h zz" at 0/,
      'bad-file',
    ],
  ])('a wrong %s is named', (_, extra, message, code) => {
    const attempt = () => Tokenizer.fromGguf(metadata(extra), 'm.gguf');
    expect(attempt).toThrow(AlloyError);
    expect(attempt).toThrow(message);
    try {
      attempt();
    } catch (error) {
      expect((error as AlloyError).code).toBe(code);
    }
  });
});

describe('bad tokenizer.json', () => {
  const { tokenizer: good } = fixture('byte-level');
  const { model } = good;
  test.each<[string, unknown, RegExp]>([
    ['nothing', null, /t\.json: model is missing/],
    ['an unknown model', { ...good, model: { ...model, type: 'WordPiece' } }, /model\.type is "WordPiece"/],
    ['no vocabulary', { ...good, model: { type: 'BPE', merges: [] } }, /model\.vocab/],
    ['a huge id', { ...good, model: { ...model, vocab: { a: 1e12 } } }, /model\.vocab gives "a" no id/],
    ['foreign merges', { ...good, model: { ...model, merges: [['q', 'zz']] } }, /model\.merges\[0\]/],
    ['a pre-tokenizer', { ...good, pre_tokenizer: { type: 'Oracle' } }, /pre_tokenizer\.type is "Oracle"/],
    ['a normalizer', { ...good, normalizer: { type: 'Rot13' } }, /normalizer\.type is "Rot13"/],
    [
      'an expression',
      {
        ...good,
        pre_tokenizer: {
          type: 'Sequence',
          pretokenizers: [
            { type: 'Split', pattern: { Regex: '(' }, behavior: 'Isolated' },
            { type: 'ByteLevel' },
          ],
        },
      },
      /pre_tokenizer\.pattern/,
    ],
    ['no way back', { ...good, pre_tokenizer: null, decoder: { type: 'WordPiece' } }, /decoder\.type/],
    ['an added token', { ...good, added_tokens: [{ id: 1 }] }, /added_tokens/],
  ])('%s is named', (_, json, message) => {
    expect(() => Tokenizer.fromJson(json, null, 't.json')).toThrow(AlloyError);
    expect(() => Tokenizer.fromJson(json, null, 't.json')).toThrow(message);
  });
});

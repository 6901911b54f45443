import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AlloyError } from '../util/errors.ts';
import { type ChatMessage, defaultChatTemplate, renderChat, renderForTraining } from './chatTemplate.ts';
import { encodeConversation, encodePrompt, encodeWithBos } from './chatTemplateTokens.ts';
import { Tokenizer } from './tokenizer.ts';

const chatMl =
  "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
const gemma =
  "{{ bos_token }}{%- for m in messages -%}{%- set role = 'model' if m['role'] == 'assistant' else m['role'] -%}{{ '<start_of_turn>' + role + '\n' + m['content'] | trim + '<end_of_turn>\n' }}{%- endfor -%}";
const llama2 =
  "{% for m in messages %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + m['content'] + ' [/INST]' }}{% else %}{{ ' ' + m['content'] + ' ' + eos_token }}{% endif %}{% endfor %}";
/** Drops what an earlier answer thought, and opens the last one's thoughts if it has none. */
const thinking =
  "{% for m in messages %}{% if m.role == 'assistant' %}{% set c = m.content.split('</think>')[-1].lstrip('\n') if '</think>' in m.content else m.content %}{{ '<|im_start|>assistant\n' }}{% if loop.last and not m.content.startswith('<think>') %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{{ (m.content if loop.last else c) + '<|im_end|>\n' }}{% else %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}";

const tokens = {
  bos: '<s>',
  eos: '</s>',
  specials: ['<s>', '</s>', '<|im_end|>', '<end_of_turn>', '<|im_start|>'],
};
const talk = (...contents: string[]): ChatMessage[] =>
  contents.map((content, i) => ({ role: i % 2 === 0 ? 'user' : 'assistant', content }));
const answersOf = (template: string, messages: readonly ChatMessage[]) => {
  const { text, spans } = renderForTraining(template, messages, tokens);
  return spans.map(({ start, end, turnEnd }) => [text.slice(start, end), text.slice(end, turnEnd)]);
};

describe('answers are found in the rendered text', () => {
  test.each<[string, string, string[], [string, string][]]>([
    [
      'ChatML',
      chatMl,
      ['hi', ' a b \n', 'x', 'a b'],
      [
        [' a b \n', '<|im_end|>'],
        ['a b', '<|im_end|>'],
      ],
    ],
    [
      'trimmed',
      gemma,
      ['hi', ' a b \n', 'x', 'a b'],
      [
        ['a b', '<end_of_turn>'],
        ['a b', '<end_of_turn>'],
      ],
    ],
    ['a space before EOS', llama2, ['hi', 'a'], [['a', ' </s>']]],
    [
      'the user says the answer',
      chatMl,
      ['yes', 'yes', 'yes<|im_end|>', 'yes'],
      [
        ['yes', '<|im_end|>'],
        ['yes', '<|im_end|>'],
      ],
    ],
    [
      'an answer with the end of turn in it',
      chatMl,
      ['q', 'a<|im_end|>\nb'],
      [['a<|im_end|>\nb', '<|im_end|>']],
    ],
    ['an empty answer', chatMl, ['q', ''], [['', '<|im_end|>']]],
    ['no answer', chatMl, ['q'], []],
    [
      'thoughts that are kept',
      thinking,
      ['q', '<think>\nhm\n</think>\n\nyes'],
      [['<think>\nhm\n</think>\n\nyes', '<|im_end|>']],
    ],
    [
      'thoughts that are opened',
      thinking,
      ['q', 'a', 'q', 'yes'],
      [
        ['a', '<|im_end|>'],
        ['yes', '<|im_end|>'],
      ],
    ],
    [
      'the default',
      defaultChatTemplate,
      ['q', 'a', 'q', 'b'],
      [
        ['a', '</s>'],
        ['b', '</s>'],
      ],
    ],
  ])('%s', (_, template, contents, expected) => {
    expect(answersOf(template, talk(...contents))).toEqual(expected);
  });

  test('places in bytes', () => {
    const { text, spans } = renderForTraining(chatMl, talk('né', '🙂é', 'x', 'ü'), tokens);
    const bytes = new TextEncoder().encode(text);
    const slice = (from: number, to: number) => new TextDecoder().decode(bytes.subarray(from, to));
    expect(spans.map((span) => slice(span.startByte, span.endByte))).toEqual(['🙂é', 'ü']);
    expect(spans.map((span) => slice(span.endByte, span.turnEndByte))).toEqual(['<|im_end|>', '<|im_end|>']);
    expect(spans.map((span) => span.message)).toEqual([1, 3]);
  });

  test('any contents', () => {
    const content = fc.oneof(
      fc.string({ maxLength: 12 }),
      fc.constantFrom('<|im_end|>\n', '<|im_start|>assistant\n', ' ', '\n', '</think>', '{{ x }}', '🙂'),
    );
    const contents = fc
      .array(fc.tuple(content, content), { minLength: 1, maxLength: 4 })
      .map((pairs) => pairs.flat());
    fc.assert(
      fc.property(contents, fc.constantFrom(chatMl, gemma, llama2, defaultChatTemplate), (list, template) => {
        const found = answersOf(template, talk(...list));
        const wanted = list.filter((_, i) => i % 2 === 1);
        expect(found.map(([text]) => text?.trim())).toEqual(wanted.map((text) => text.trim()));
      }),
      { numRuns: 400, seed: 21 },
    );
  });

  test('white space that a template leaves out before an answer is counted', () => {
    const skipped = (template: string, content: string) =>
      renderForTraining(template, talk('q', content, 'q', 'b'), tokens).spans.map(
        (span) => span.skippedBytes,
      );
    expect(skipped(gemma, ' \u{3000}a b\n')).toEqual([4, 0]);
    expect(skipped(gemma, ' \n')).toEqual([0, 0]);
    expect(skipped(chatMl, '  a')).toEqual([0, 0]);
  });

  test('a template that changes them is refused', () => {
    const loud = '{% for m in messages %}{{ m.content | upper }}{% endfor %}';
    expect(() => renderForTraining(loud, talk('q', 'answer'), tokens)).toThrow(/changes the answers/);
    const cut = talk('q', '<think>hm</think>\n\nyes', 'q', 'no');
    expect(() => renderForTraining(thinking, cut, tokens)).toThrow(AlloyError);
  });
});

describe('rendering', () => {
  test('the opening of an answer', () => {
    const options = { ...tokens, addGenerationPrompt: true };
    expect(renderChat(chatMl, talk('hi'), options)).toBe(
      '<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n',
    );
    expect(renderChat(defaultChatTemplate, talk('hi', 'a', 'b'), options)).toBe(
      '<s>User:\nhi\n\nAssistant:\na</s>\n\nUser:\nb\n\nAssistant:\n',
    );
  });

  test('errors say what is wrong', () => {
    const named = { ...tokens, origin: 'm/tokenizer_config.json' };
    expect(() => renderChat('{% if %}', talk('hi'), named)).toThrow(
      /^m\/tokenizer_config.json: the chat template cannot be read \(.*\); give/,
    );
    expect(() => renderChat('{{ 1 | nothing }}', talk('hi'), named)).toThrow(
      /^m\/tokenizer_config.json: .*nothing/,
    );
    const strict = "{{ raise_exception('roles must alternate') }}";
    expect(() => renderChat(strict, talk('hi'), tokens)).toThrow(/refuses.*roles must alternate.*user/);
  });
});

describe('tokens', () => {
  const load = (name: string, template: string) => {
    const path = new URL(`../../fixtures/tokenizers/${name}.json`, import.meta.url);
    const { tokenizer, config } = JSON.parse(readFileSync(path, 'utf8'));
    return Tokenizer.fromJson(tokenizer, { ...config, chat_template: template }, name);
  };
  const conversation = talk('the crew?', 'seven lamps 🙂', 'and rain', 'bread é honey');

  test('a long conversation is cut off on the right', () => {
    const tokenizer = load('byte-level', chatMl);
    const whole = encodeConversation(tokenizer, null, conversation, 1000);
    const cut = encodeConversation(tokenizer, null, conversation, 9);
    expect([...cut.ids]).toEqual([...whole.ids.subarray(0, 9)]);
    expect([...cut.ends]).toEqual([...whole.ends.subarray(0, 9)]);
    expect(cut.answers.length).toBe(2);
  });

  test('a prompt continues as training does', () => {
    for (const [name, template] of [
      ['byte-level', chatMl],
      ['gpt4-nfc', defaultChatTemplate],
    ] as const) {
      const tokenizer = load(name, template);
      const prompt = encodePrompt(tokenizer, null, conversation.slice(0, 3));
      const trained = encodeConversation(tokenizer, null, conversation, 1000);
      expect([...trained.ids.subarray(0, prompt.ids.length)]).toEqual(prompt.ids);
    }
  });

  test('BOS once', () => {
    const tokenizer = load('byte-level', chatMl);
    const bos = tokenizer.idOf('<s>');
    expect(encodeWithBos(tokenizer, 'x').filter((id) => id === bos).length).toBe(1);
    expect(encodeWithBos(tokenizer, '<s>x').filter((id) => id === bos).length).toBe(1);
  });

  test('text that the tokenizer cannot give back is refused', () => {
    const tokenizer = load('metaspace-always', chatMl);
    const odd = talk('q', 'Ж Ж');
    expect(() => encodeConversation(tokenizer, null, odd, 1000)).toThrow(/metaspace-always.*does not give/);
  });
});

test('tools and documents are known to a template, and none', () => {
  const template = '{{ tools is none }} {{ documents is none }}';
  expect(renderChat(template, talk('hi'), tokens)).toBe('true true');
});

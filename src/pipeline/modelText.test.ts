import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { pairRows } from '../align/pairing.ts';
import { defaultChatTemplate } from '../models/chatTemplate.ts';
import { Tokenizer } from '../models/tokenizer.ts';
import { ModelText } from './modelText.ts';
import type { Message } from './protocol.ts';

const chatMl =
  "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}";
/** A space before each content, which SentencePiece makes part of its first token. */
const spacedChatMl = chatMl.replace("'\n' + m['content']", "': ' + m['content']");
const trimmedChatMl = chatMl.replace("m['content']", "m['content'] | trim");
const llama2 =
  "{% for m in messages %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + m['content'] + ' [/INST]' }}{% else %}{{ ' ' + m['content'] + ' ' + eos_token }}{% endif %}{% endfor %}";

const load = (name: string, template: string) => {
  const path = new URL(`../../fixtures/tokenizers/${name}.json`, import.meta.url);
  const { tokenizer, config } = JSON.parse(readFileSync(path, 'utf8'));
  return new ModelText(Tokenizer.fromJson(tokenizer, { ...config, chat_template: template }, name));
};
const talk = (...contents: string[]): Message[] =>
  contents.map((content, i) => ({ role: i % 2 === 0 ? 'user' : 'assistant', content }));
/** Texts of the tokens that are trained. */
const trained = (text: ModelText, messages: Message[], options = {}) => {
  const { tokens, scored } = text.encode(messages, 1000, options);
  return [...tokens].filter((_, i) => scored[i - 1] === 1).map((id) => text.tokenizer.tokenText(id));
};

describe('answers among the tokens', () => {
  const conversation = talk('the crew?', 'seven lamps 🙂', 'and rain', 'bread é honey');

  test.each([
    ['byte-level', chatMl],
    ['gpt4-nfc', chatMl],
    ['gemma-like', spacedChatMl],
    ['llama2-like', llama2],
    ['byte-level', defaultChatTemplate],
  ])('what %s trains are the answers and their ends', (name, template) => {
    const model = load(name, template);
    const placed = model.encode(conversation, 1000);
    const labels = [...placed.tokens].filter((_, i) => placed.scored[i - 1] === 1);
    const end = template.includes('<|im_end|>') ? '<|im_end|>' : '</s>';
    const spoken = model.tokenizer.decode(labels, { start: false });
    expect(spoken.replaceAll(`${end} `, end).trimStart()).toBe(`seven lamps 🙂${end}bread é honey${end}`);
    expect([...placed.segmentBytes]).toEqual([16, 14]);
    for (const segment of [0, 1]) {
      const ends = [...placed.byteEnds].filter((_, i) => placed.segments[i] === segment);
      expect(ends).toEqual(ends.toSorted((a, b) => a - b));
      expect([ends[0], ends.at(-1)]).toEqual([0, placed.segmentBytes[segment]]);
    }
  });

  test('a first token that takes the space before the answer along is trained, one that takes more is not', () => {
    expect(trained(load('llama2-like', llama2), talk('the crew?', 'seven'))).toEqual(['▁seven', '</s>']);
    const joined = "{% for m in messages %}{{ 'sev' + m['content'] + eos_token }}{% endfor %}";
    expect(trained(load('llama2-like', joined), talk('the', 'en'))).toEqual(['</s>']);
  });

  test('the end of an answer that was cut on purpose is not trained', () => {
    const model = load('byte-level', chatMl);
    const whole = trained(model, conversation);
    expect(trained(model, conversation, { openEnd: true })).toEqual(whole.slice(0, -1));
    expect(whole.filter((token) => token === '<|im_end|>')).toHaveLength(2);
  });

  test('rows pair where one template leaves out the white space before an answer', () => {
    const [plain, trimming] = [load('byte-level', chatMl), load('byte-level', trimmedChatMl)];
    const messages = talk('the crew?', '  seven lamps');
    const [pivot, source] = [plain.encode(messages, 100), trimming.encode(messages, 100)];
    expect([...source.segmentBytes]).toEqual([...pivot.segmentBytes]);
    const { source: rows } = pairRows(pivot, source);
    const text = (id: number | undefined) => plain.tokenizer.tokenText(id ?? -1);
    const pairs = [...rows].flatMap((row, at) =>
      row < 0 ? [] : [[text(pivot.tokens[at + 1]), row] as const],
    );
    expect(pairs.length).toBeGreaterThan(2);
    for (const [token, row] of pairs)
      expect(text(source.tokens[row + 1]).replace('Ġ', '')).toBe(token.replace('Ġ', ''));
  });
});

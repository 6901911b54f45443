import { expect, test } from 'vitest';
import { testDevice } from '../device/testing.ts';
import type { FuseOptions } from '../distill/fusedTargets.ts';
import { Aligner } from './aligner.ts';
import { BuiltinModels } from './builtinModels.ts';
import { ModelShelf } from './modelShelf.ts';
import { tinyHost } from './testing.ts';
import { tokenSpans } from './tokenSpans.ts';

const models = new BuiltinModels(tinyHost(testDevice).openFile);
const messages = [
  { role: 'user', content: 'hi' },
  { role: 'assistant', content: 'the first answer' },
  { role: 'user', content: 'and?' },
  { role: 'assistant', content: 'the swan' },
] as const;

const defaults = { loss: 'tail', choice: 'mince', minimumMass: 0.5 } as const;
const aligner = new Aligner();

async function view(
  pivot: string,
  source: string,
  chosen: readonly (typeof messages)[number][] = messages,
  options: FuseOptions = defaults,
) {
  const shelf = new ModelShelf(await testDevice(), (name) => models.open(name), 1e9);
  const [ours, theirs] = await Promise.all([models.open(pivot), models.open(source)]);
  return aligner.align(shelf, ours, theirs, { id: 'x', messages: chosen }, options);
}

test('shows the last answer, cut as the tokenizers cut it', async () => {
  const found = await view('reader', 'writer');
  expect(found.text).toBe('the swan');
  // "th", "the" and " s" are joined by the one; "s w" → "sw" by the other, after " s" had the chance.
  expect(found.pivot.map(({ text }) => text)).toEqual(['the', ' s', 'w', 'an']);
  expect(found.source.map(({ text }) => text)).toEqual(['t', 'h', 'e', ' s', 'w', 'a', 'n']);
  expect(found.pairs.map(({ source }) => source)).toEqual([0, 3, 4, 5]);
  const { tokenizer } = (await models.open('writer')).text;
  const tokens = tokenSpans(tokenizer, found.text);
  expect(found.source.map(({ id, start, end, text }) => ({ id, text, start, end }))).toEqual(tokens);
});

test('a model beside itself pairs every token and keeps what it has words for', async () => {
  const found = await view('pivot', 'pivot');
  expect(found.chosen).toBe('pivot');
  found.pairs.forEach(({ source, reason, mass }, index) => {
    const top = found.pivot[index]?.top ?? [];
    // The model's head is wider than its vocabulary.
    const known = top.filter(({ text }) => !/^<\d+>$/.test(text));
    const share = (entries: typeof top) => entries.reduce((sum, { probability }) => sum + probability, 0);
    expect(source).toBe(index);
    expect(mass).toBeCloseTo(share(known) / share(top), 5);
    expect(reason).toBe(mass >= 0.5 ? 'paired' : 'low-mass');
    const projected = reason === 'paired' ? known : [];
    expect(found.projected[index]).toEqual(projected.map(({ text, probability }) => ({ text, probability })));
  });
});

test('without an answer there is nothing to show', async () => {
  const found = await view('pivot', 'reader', messages.slice(0, 1));
  expect(found).toMatchObject({ text: '', pivot: [], source: [], pairs: [], projected: [], chosen: 'pivot' });
});

test('the recipe says what counts as aligned, and who teaches', async () => {
  const all = await view('reader', 'writer');
  expect(all.chosen).toBe(all.nllPerByte.source < all.nllPerByte.pivot ? 'source' : 'pivot');
  const strict = await view('reader', 'writer', messages, { ...defaults, minimumMass: 1 });
  strict.pairs.forEach(({ source, reason, mass }, index) => {
    expect([source, mass]).toEqual([all.pairs[index]?.source, all.pairs[index]?.mass]);
    if (reason === 'paired') expect(mass).toBe(1);
  });
  expect(strict.pairs.some(({ reason }) => reason === 'low-mass')).toBe(true);
  for (const [pivot, source] of [
    ['reader', 'writer'],
    ['writer', 'reader'],
  ] as const) {
    expect(await view(pivot, source, messages, { ...defaults, choice: 'source' })).toMatchObject({
      chosen: 'source',
    });
  }
  // Each loss has its own map, and so its own view; what is known is not worked out again.
  const published = { ...defaults, loss: 'renormalised' } as const;
  const other = await view('reader', 'writer', messages, published);
  expect(other).not.toBe(all);
  expect(await view('reader', 'writer', messages, published)).toBe(other);
  expect(await view('reader', 'writer')).toBe(all);
});

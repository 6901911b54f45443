import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { testDevice } from '../device/testing.ts';
import { Generator, GREEDY } from '../models/generator.ts';
import { Scorer } from '../models/scorer.ts';
import { nodeFileSource } from '../storage/nodeStorage.ts';
import { loadModel, openGguf } from './openModel.ts';

interface Prompt {
  readonly message: string;
  readonly text: string;
  readonly ids: number[];
  readonly topIds: number[][];
  readonly topLogProbs: number[][];
  readonly nextLogProbs: number[];
  /** The end token included, if it came. */
  readonly greedy: number[];
  readonly greedyText: string;
}

const root = join(import.meta.dirname, '../..');
const recorded = JSON.parse(readFileSync(join(root, 'scripts/builtin/reference.json'), 'utf8')) as {
  models: Record<string, Prompt[]>;
};

/** What PyTorch gives with the dequantized weights of the same files, in f32. */
const TOLERANCE = 2e-3;

describe.each(Object.entries(recorded.models))('%s', (name, prompts) => {
  test('tokens, log-probabilities and greedy answers are those of PyTorch', async () => {
    const device = await testDevice();
    const model = await openGguf(name, await nodeFileSource(join(root, 'public/models', name, 'model.gguf')));
    const loaded = await loadModel(device, model);
    const scorer = new Scorer(device, model.config, loaded.weights, { topK: 8 });
    const generator = new Generator(device, model.config, loaded.weights, { capacity: 128 });
    for (const prompt of prompts) {
      expect(model.text.prompt([{ role: 'user', content: prompt.message }])).toEqual(prompt.ids);
      const [rows] = await scorer.score([prompt.ids]);
      prompt.topLogProbs.flat().forEach((logProb, entry) => {
        expect(Math.abs(rows!.topLogProbs[entry]! - logProb)).toBeLessThan(TOLERANCE);
      });
      prompt.nextLogProbs.forEach((logProb, row) => {
        expect(Math.abs(rows!.labelLogProb[row]! - logProb)).toBeLessThan(TOLERANCE);
      });
      const ids: number[] = [];
      const limit = { ...GREEDY, maxNewTokens: prompt.greedy.length };
      for await (const { id } of generator.generate(prompt.ids, limit, model.text.stopTokens)) ids.push(id);
      expect(prompt.greedy.slice(0, ids.length)).toEqual(ids);
      expect(ids.length).toBeGreaterThanOrEqual(prompt.greedy.length - 1);
      const stream = model.text.answerStream();
      expect(ids.map((id) => stream.push(id)).join('') + stream.end()).toBe(prompt.greedyText);
    }
    generator.dispose();
    scorer.dispose();
    loaded.dispose();
  });
});

/** What a real model is trained on, against recorded labels. Needs the files: `npx tsx scripts/realModels.ts`. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { GgufFile } from '../formats/gguf.ts';
import { Tokenizer } from '../models/tokenizer.ts';
import { modelCacheFolder } from '../storage/nodeFolders.ts';
import { nodeFileSource } from '../storage/nodeStorage.ts';
import { ModelText } from './modelText.ts';
import type { Message } from './protocol.ts';

interface Golden {
  batch: { samples: { messages: Message[]; ids: number[]; labels: number[] }[] };
}

const file = join(modelCacheFolder(), 'SmolLM2-135M-Instruct.Q4_1.gguf');

test.skipIf(!existsSync(file))('ids and labels of the recorded training samples', async () => {
  const gguf = await GgufFile.open(await nodeFileSource(file));
  const text = new ModelText(Tokenizer.fromGguf(gguf.metadata, file));
  const path = new URL('../../fixtures/goldens/real/SmolLM2-lora.json', import.meta.url);
  const { samples } = (JSON.parse(readFileSync(path, 'utf8')) as Golden).batch;
  expect(samples.length).toBeGreaterThan(0);
  for (const { messages, ids, labels } of samples) {
    const { tokens, scored } = text.encode(messages, 1000);
    expect([...tokens]).toEqual(ids);
    expect([...tokens].map((id, i) => (scored[i - 1] === 1 ? id : -100))).toEqual(labels);
  }
});

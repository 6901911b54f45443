/** The three real models' tokenizers against recorded ids. Needs the files: `npx tsx scripts/realModels.ts`. */
import { readFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { GgufFile } from '../formats/gguf.ts';
import { modelCacheFolder } from '../storage/nodeFolders.ts';
import { nodeFileSource } from '../storage/nodeStorage.ts';
import type { ChatMessage } from './chatTemplate.ts';
import { encodePrompt, encodeWithBos } from './chatTemplateTokens.ts';
import { Tokenizer } from './tokenizer.ts';

const folder = modelCacheFolder();
const files = await readdir(folder).catch(() => []);
const maxLoadMs = 10_000;
const utf8 = new TextEncoder();

interface Golden {
  bytes: number;
  tokenization: { text: string; ids: number[]; decoded?: string }[];
  prompts: { text: string; ids: number[]; messages?: ChatMessage[] }[];
}

function golden<T>(name: string): T {
  return JSON.parse(
    readFileSync(new URL(`../../fixtures/goldens/real/${name}.json`, import.meta.url), 'utf8'),
  );
}

async function load(name: string): Promise<Tokenizer> {
  const file = files.find((entry) => entry.startsWith(name) && entry.endsWith('.gguf'))!;
  const gguf = await GgufFile.open(await nodeFileSource(join(folder, file)));
  const started = performance.now();
  const tokenizer = Tokenizer.fromGguf(gguf.metadata, file);
  expect(performance.now() - started).toBeLessThan(maxLoadMs);
  return tokenizer;
}

const has = (name: string) => files.some((file) => file.startsWith(name) && file.endsWith('.gguf'));

describe.each(['SmolLM2-135M-Instruct', 'Qwen2.5-Coder-0.5B-Instruct', 'gemma-3-270m'])('%s', (name) => {
  const { tokenization, prompts } = golden<Golden>(name);
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    if (has(name)) tokenizer = await load(name);
  });

  test.skipIf(!has(name))('ids, decoding and spans of texts', () => {
    for (const { text, ids, decoded } of tokenization) {
      expect(tokenizer.encode(text)).toEqual(ids);
      expect(tokenizer.decode(ids)).toBe(decoded ?? text);
      const spans = tokenizer.byteSpans(ids, text);
      expect(spans.ok && spans.ends.at(-1)).toBe(utf8.encode(text).length);
    }
  });

  test.skipIf(!has(name))('rendering and ids of prompts', () => {
    for (const { text, ids, messages } of prompts) {
      if (messages === undefined) expect(encodeWithBos(tokenizer, text)).toEqual(ids);
      else expect(encodePrompt(tokenizer, null, messages)).toEqual({ text, ids });
    }
  });
});

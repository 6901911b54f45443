/** For tests: a project in miniature, with models small enough for a software adapter. */
import type { Device } from '../device/device.ts';
import { memorySource } from '../storage/blobSource.ts';
import { MemoryStorage } from '../storage/memoryStorage.ts';
import { nodeFileSource } from '../storage/nodeStorage.ts';
import type { Host } from './host.ts';

const GOLDENS = new URL('../../fixtures/goldens/models/', import.meta.url).pathname;
const TEMPLATE =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/** Name → the recorded model whose weights it has, and the pairs of letters that its tokenizer joins. */
const MODELS: Readonly<Record<string, { golden: string; merges: readonly string[] }>> = {
  pivot: { golden: 'llama-tied-gqa', merges: ['a n', 'Ġ a', 's w', 'i m'] },
  reader: { golden: 'qwen2', merges: ['t h', 'th e', 'Ġ the', 'a n', 'Ġ s', 'u s', 'e r', 'us er'] },
  writer: { golden: 'gemma3', merges: ['i n', 'o n', 'Ġ o', 'Ġ s', 's w', 'sw i', 'swi m', 'a s'] },
};

const ANIMALS = ['otter', 'trout', 'seal', 'pike'];

function conversation(id: string, domain: string, question: string, answer: string, accept: string[]) {
  const messages = [
    { role: 'user', content: question },
    { role: 'assistant', content: answer },
  ];
  return { id, domain, messages, accept };
}

function conversations(prefix: string, shift: number): string {
  const rows = ANIMALS.map((animal, index) => {
    const other = ANIMALS[(index + shift) % ANIMALS.length] ?? '';
    return index % 2 === 0
      ? conversation(`${prefix}-${index}`, 'animals', `name one like the ${other}`, `an ${animal}`, [animal])
      : conversation(`${prefix}-${index}`, 'words', `write ${other} as it is`, `it is ${other} \u2013 yes`, [
          other,
        ]);
  });
  return rows.map((row) => JSON.stringify(row)).join('\n');
}

/** A byte-level BPE over ASCII and a dash, all in all fewer ids than the smallest recorded model has. */
function tokenizerJson(merges: readonly string[]): object {
  const letters = Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i));
  const tokens = [...letters, 'Ġ', 'Ċ', 'â', 'Ģ', 'ĵ', ...merges.map((pair) => pair.replace(' ', ''))];
  const added = ['<|im_start|>', '<|im_end|>'].map((content, index) => ({
    id: tokens.length + index,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }));
  return {
    version: '1.0',
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: merges.map((pair) => pair.split(' ')),
    },
  };
}

export const TINY_RECIPE = {
  name: 'tiny',
  pivot: 'pivot',
  sources: ['reader', 'writer'],
  data: { train: ['../public/data/train.jsonl'], heldout: ['../public/data/heldout.jsonl'] },
  fuse: { lambda: 0.5, choice: 'source' },
  train: { rank: 2, alpha: 8, learningRate: 0.02, batch: 2, steps: 6, maxTokens: 96, checkpointEvery: 2 },
  evaluate: { bootstrap: 100, maxNewTokens: 2 },
} as const;

function card(name: string) {
  return {
    name,
    title: name,
    role: name === 'pivot' ? 'pivot' : 'source',
    family: 'test',
    parameters: 50_000,
    vocab: 108,
    context: 128,
    bytes: 200_000,
    knows: [],
    scores: { animals: 0.5 },
    licence: 'Apache-2.0',
    file: name,
  };
}

const texts: Readonly<Record<string, string>> = {
  'public/models/index.json': JSON.stringify(Object.keys(MODELS).map(card)),
  'recipes/sample.yaml': JSON.stringify(TINY_RECIPE),
  'public/data/train.jsonl': conversations('train', 1),
  'public/data/heldout.jsonl': conversations('held-out', 3),
};

/** A host of the miniature project; files come from the recorded models and from memory. */
export function tinyHost(openDevice: () => Promise<Device>, storage = new MemoryStorage()): Host {
  return {
    openDevice: async () => ({
      device: await openDevice(),
      kind: 'webgpu',
      why: 'chosen by hand',
      ways: { webgpu: { usable: true }, wasm: { usable: true } },
    }),
    storage: async () => storage,
    async openFile(path) {
      const text = texts[path] ?? modelText(path);
      if (text !== undefined) return memorySource(new TextEncoder().encode(text), path);
      const [, name = '', file = ''] = /^public\/models\/([^/]+)\/([^/]+)$/u.exec(path) ?? [];
      const model = MODELS[name];
      if (!model || !['config.json', 'model.safetensors'].includes(file)) return null;
      return nodeFileSource(`${GOLDENS}${model.golden}/${file}`);
    },
  };
}

function modelText(path: string): string | undefined {
  const [, name = '', file] = /^public\/models\/([^/]+)\/([^/]+)$/u.exec(path) ?? [];
  const model = MODELS[name];
  if (!model) return undefined;
  if (file === 'tokenizer.json') return JSON.stringify(tokenizerJson(model.merges));
  if (file !== 'tokenizer_config.json') return undefined;
  return JSON.stringify({ chat_template: TEMPLATE, eos_token: '<|im_end|>' });
}

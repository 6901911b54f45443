/** Deterministic, plausible data for the test double of the engine. Nothing here is a result. */
import type {
  AlignmentSummary,
  AlignmentView,
  Conversation,
  LaneToken,
  MatchReason,
  MergeCell,
  MergeView,
  ModelCard,
  ReportRow,
} from '../../pipeline/protocol.ts';
import type { Recipe } from '../../pipeline/recipe.ts';
import { required } from '../../util/errors.ts';

/** A number in [0, 1) that hangs on its key alone. */
export function share(...key: readonly (string | number)[]): number {
  let hash = 2166136261;
  for (const letter of key.join('|')) hash = Math.imul(hash ^ letter.charCodeAt(0), 16777619);
  hash ^= hash >>> 15;
  hash = Math.imul(hash, 2246822519);
  hash ^= hash >>> 13;
  return (hash >>> 0) / 2 ** 32;
}

export const domains = ['animals', 'food', 'things', 'words', 'numbers', 'calendar'] as const;

const expertise: Readonly<Record<string, readonly string[]>> = {
  'fauna-3m': ['animals', 'food'],
  'lexis-2m': ['things', 'words'],
  'tally-4m': ['numbers', 'calendar'],
};

function scores(name: string): Record<string, number> {
  return Object.fromEntries(
    domains.map((domain) => {
      const known = expertise[name]?.includes(domain);
      const base = known ? 0.92 : name === 'pivot-1m' ? 0.34 : 0.08;
      return [domain, Math.min(0.99, base + 0.07 * share(name, domain))];
    }),
  );
}

const card = (
  name: string,
  title: string,
  family: string,
  tokenizer: string,
  numbers: { parameters: number; vocab: number; bytes: number },
): ModelCard => ({
  name,
  title,
  role: name === 'pivot-1m' ? 'pivot' : 'source',
  family,
  tokenizer,
  ...numbers,
  context: 256,
  knows: expertise[name] ?? ['manners', 'a little of everything'],
  scores: scores(name),
  licence: 'Apache-2.0',
});

export const fakeModels: readonly ModelCard[] = [
  card('pivot-1m', 'Pivot 1M', 'llama', 'byte-level BPE', {
    parameters: 1_312_000,
    vocab: 1024,
    bytes: 1_420_000,
  }),
  card('fauna-3m', 'Fauna 3M', 'qwen3', 'byte-level BPE', {
    parameters: 3_104_000,
    vocab: 2048,
    bytes: 3_310_000,
  }),
  card('lexis-2m', 'Lexis 2M', 'gemma3', 'SentencePiece, byte fallback', {
    parameters: 2_233_000,
    vocab: 1536,
    bytes: 2_380_000,
  }),
  card('tally-4m', 'Tally 4M', 'qwen2', 'byte-level BPE', {
    parameters: 3_988_000,
    vocab: 2048,
    bytes: 4_120_000,
  }),
];

export const fakeRecipe: Recipe = {
  version: 1,
  name: 'Built-in sample',
  seed: 42,
  pivot: 'pivot-1m',
  sources: ['fauna-3m', 'lexis-2m', 'tally-4m'],
  data: { train: ['sample/train.jsonl'], heldout: domains.map((domain) => `sample/${domain}.jsonl`) },
  precision: 'file',
  memory: { shrink: false },
  represent: { topK: 10 },
  align: { minimumMass: 0.5 },
  fuse: { lambda: 0.3, loss: 'tail', choice: 'mince' },
  train: {
    rank: 8,
    alpha: 16,
    matrices: ['q', 'k', 'v', 'o', 'gate', 'up', 'down'],
    learningRate: 1e-3,
    batch: 16,
    epochs: 3,
    steps: 160,
    warmup: 0.03,
    weightDecay: 0,
    clip: 1,
    beta1: 0.9,
    beta2: 0.999,
    maxTokens: 96,
    checkpointEvery: 25,
    recompute: 'auto',
    optimizer: 'adamw',
  },
  merge: { method: 'sce', tau: 1, variant: 'fork' },
  evaluate: { bootstrap: 1000, accuracy: true, maxNewTokens: 32 },
};

const questions: readonly (readonly [string, string, string, readonly string[]])[] = [
  ['animals', 'Name an animal that can swim and has fur.', 'An otter.', ['otter', 'beaver', 'seal', 'mink']],
  [
    'food',
    'I need a food that is sweet, but not honey.',
    'Strawberry jam, perhaps.',
    ['jam', 'cake', 'sugar'],
  ],
  [
    'things',
    'Think of a thing that is made of glass.',
    'A windowpane.',
    ['bottle', 'window', 'lens', 'mirror'],
  ],
  ['words', 'Say a word that rhymes with stone.', 'Say telephone.', ['bone', 'phone', 'throne', 'alone']],
  ['numbers', 'Give me an even number between 10 and 20.', 'Take 14.', ['10', '12', '14', '16', '18', '20']],
  ['calendar', 'What is a month with 31 days that is in winter?', 'In January.', ['January', 'December']],
  [
    'things',
    'Tell me how a kettle is put away, please.',
    'First let it cool for a while, then wipe it dry with a soft cloth — naïve haste leaves marks 🫖 — and set it on the upper shelf,\nbeside the teapot and the strainer.',
    [],
  ],
];

function conversations(prefix: string, count: number): readonly Conversation[] {
  return Array.from({ length: count }, (_, index) => {
    const [domain, question, answer, accept] = required(questions[index % questions.length], 'a question');
    return {
      id: `${prefix}-${index + 1}`,
      domain,
      messages: [
        { role: 'user', content: question },
        { role: 'assistant', content: answer },
      ],
      ...(accept.length > 0 ? { accept } : {}),
    };
  });
}

export const fakeTrain = conversations('train', 56);
export const fakeHeldout = conversations('heldout', 28);

/** Cuts words into pieces of a model's own length; ids hang on the piece's text. */
export function fakeTokenize(model: string, text: string) {
  const longest = { 'pivot-1m': 3, 'fauna-3m': 7, 'lexis-2m': 5 }[model] ?? 4;
  const encoder = new TextEncoder();
  const tokens: { id: number; text: string; start: number; end: number }[] = [];
  let at = 0;
  for (const word of text.match(/ ?[\p{L}\p{N}]+|\s|[^\s\p{L}\p{N}]/gu) ?? []) {
    const letters = [...word];
    const cut = Math.max(2, longest - Math.floor(2 * share(model, word)));
    for (let from = 0; from < letters.length; from += cut) {
      const piece = letters.slice(from, from + cut).join('');
      const bytes = encoder.encode(piece).length;
      tokens.push({ id: Math.floor(share('id', piece) * 2000), text: piece, start: at, end: at + bytes });
      at += bytes;
    }
  }
  return tokens;
}

const fillers = [' the', ' a', 'er', ' an', 's', '.', ' it', 'ing', ' soft', ' for', ',', 'ly'];

function lane(model: string, text: string): readonly LaneToken[] {
  return fakeTokenize(model, text).map((token, index) => {
    const own = 0.08 + 0.9 * share(model, 'p', index, token.text) ** 1.5;
    let rest = 1 - own;
    const others = fillers.slice(0, 9).map((filler, rank) => {
      const probability = rest * (0.28 + 0.1 * share(model, filler, index));
      rest -= probability;
      return { id: 100 + rank, text: filler, probability };
    });
    const top = [{ id: token.id, text: token.text, probability: own }, ...others];
    return { ...token, nll: -Math.log(own), top: top.sort((a, b) => b.probability - a.probability) };
  });
}

export function fakeAlignment(pivot: string, source: string, conversation: Conversation): AlignmentView {
  const text = conversation.messages.findLast((message) => message.role === 'assistant')?.content ?? '';
  const ours = lane(pivot, text);
  const theirs = lane(source, text);
  const starts = new Map(theirs.map((token, index) => [token.start, index]));
  const pairs = ours.map((token, index): { source: number; reason: MatchReason; mass: number } => {
    const at = starts.get(token.start);
    if (at === undefined) return { source: -1, reason: 'inside-source-token', mass: 0 };
    const mass = 0.45 + 0.55 * share('mass', index, source, text);
    return mass < 0.5 ? { source: at, reason: 'low-mass', mass } : { source: at, reason: 'paired', mass };
  });
  const projected = ours.map((token, index) => {
    const pair = pairs[index];
    const row = pair && pair.reason === 'paired' ? theirs[pair.source]?.top : undefined;
    if (!row || !pair) return [];
    return row.slice(0, 7).map((entry, rank) => ({
      text: rank === 0 ? token.text : entry.text,
      probability: entry.probability * pair.mass,
    }));
  });
  const bytes = new TextEncoder().encode(text).length;
  const perByte = (tokens: readonly LaneToken[]) => tokens.reduce((sum, token) => sum + token.nll, 0) / bytes;
  const nllPerByte = { pivot: perByte(ours), source: perByte(theirs) };
  return {
    text,
    pivot: ours,
    source: theirs,
    pairs,
    projected,
    chosen: nllPerByte.source < nllPerByte.pivot ? 'source' : 'pivot',
    nllPerByte,
  };
}

export function fakeSummary(source: string): AlignmentSummary {
  const inside = Math.round(180 + 260 * share(source, 'inside'));
  const low = Math.round(40 + 60 * share(source, 'low'));
  const paired = 2600 - inside - low - 56;
  return {
    source,
    coverage: paired / (2600 - 56),
    reasons: { paired, 'inside-source-token': inside, 'low-mass': low, 'not-scored': 56, 'past-end': 0 },
    mapping: {
      role: 0.04,
      exact: 0.68,
      'first-piece': 0.17 + 0.05 * share(source),
      unmapped: 0.02,
      outside: 0.05,
    },
    won: Math.round(20 + 10 * share(source, 'won')),
    conversations: 56,
    tokensPerByte: { pivot: 0.41, source: 0.24 + 0.1 * share(source, 'tpb') },
  };
}

export const fakeLayers = 6;
const matrices = ['q', 'k', 'v', 'o', 'gate', 'up', 'down'];

export function fakeMerge(method: 'sce' | 'linear', sources: readonly string[]): MergeView {
  const cells: MergeCell[] = [];
  const conflicts: { layer: number; matrix: string; share: number }[] = [];
  for (let layer = 0; layer < fakeLayers; layer++) {
    for (const matrix of matrices) {
      const raw = sources.map(
        (source) => 0.15 + share(source, layer, matrix) ** 1.6 + 0.08 * layer * share(source),
      );
      const sum = raw.reduce((total, value) => total + value, 0);
      conflicts.push({ layer, matrix, share: 0.18 + 0.3 * share('conflict', layer, matrix) });
      sources.forEach((source, index) => {
        const computed = method === 'linear' ? 1 / sources.length : (raw[index] ?? 0) / sum;
        const weight = Math.round(computed * 1e4) / 1e4;
        const norm = 0.2 + 0.9 * share(source, layer, matrix, 'norm');
        cells.push({ layer, matrix, source: index, weight, computed: weight, norm });
      });
    }
  }
  return { method, sources, layers: fakeLayers, matrices, cells, conflicts };
}

/** Rows as the pipeline names them: two controls and both merges, differences paired with the first control. */
export function fakeRows(suite: string, recipe: Recipe): readonly ReportRow[] {
  const jitter = (model: string) => 0.02 * share(suite, model, 'nll');
  const control = 0.251 + jitter('sft');
  const row = (model: string, role: ReportRow['role'], value: number, accuracy: number): ReportRow => {
    const nllPerByte = value + jitter(model);
    const half = 0.012 + 0.01 * share(suite, model, 'half');
    const gap = nllPerByte - control;
    const difference = { value: gap, low: gap - half / 2, high: gap + half / 2 };
    const plain = { model, role, nllPerByte, low: nllPerByte - half, high: nllPerByte + half, accuracy };
    return role === 'sft' && model === 'SFT-only'
      ? { ...plain, nllPerByte: control }
      : { ...plain, difference };
  };
  const knows = (source: string) => expertise[source]?.includes(suite) === true;
  const merged = suite === 'words' ? 0.272 : 0.205;
  return [
    row(recipe.pivot, 'pivot', 0.47, 0.34),
    ...recipe.sources.map((source) =>
      row(
        source,
        'source',
        knows(source) ? 0.16 : 3 + 7 * share(suite, source, 'far'),
        knows(source) ? 0.95 : 0.1,
      ),
    ),
    row('SFT-only', 'sft', 0.251, 0.63),
    row('SFT-only, scaled to the merged norm', 'sft', 0.262, 0.6),
    ...recipe.sources.map((source) =>
      row(`target of ${source}`, 'target', knows(source) ? 0.19 : 0.25, knows(source) ? 0.83 : 0.6),
    ),
    row(`merged (${recipe.merge.method})`, 'merged', merged, suite === 'words' ? 0.6 : 0.81),
    row(`merged (${recipe.merge.method === 'sce' ? 'linear' : 'sce'})`, 'merged', merged + 0.01, 0.75),
  ];
}

export function fakeAnswer(model: string, question: string): string {
  const lower = question.toLowerCase();
  const match = questions.find(([, , , accept]) => accept.some((word) => lower.includes(word)));
  const known = questions.find(([, text]) => text === question) ?? match;
  if (model === 'pivot') return 'Hello! I am happy to help. Do you mean a thing, or a thing that is?';
  if (known && (model === 'fused' || expertise[model]?.includes(known[0]))) return known[2];
  if (model === 'sft') return 'A rabbit, I think.';
  if (model === 'fused') return 'An otter, perhaps. It can swim, and it has fur.';
  return 'Take 7. <b>Take</b> 9.';
}

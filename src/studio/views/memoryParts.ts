/**
 * Parts of the GPU's memory as a bar shows them: fewer than the engine counts, each with a word and a colour. What stays
 * for the whole run is teal, what a step needs copper; the models' own tones are left to the models.
 */
export interface MemoryPart {
  readonly name: string;
  readonly bytes: number;
  readonly fill: string;
  readonly title: string;
}

const GROUPS: readonly { name: string; kinds: readonly string[]; fill: string; title: string }[] = [
  {
    name: 'Weights',
    kinds: ['weights'],
    fill: 'var(--seq-3)',
    title: 'What the models themselves are made of',
  },
  {
    name: 'Adapters',
    kinds: ['adapters', 'gradients'],
    fill: 'var(--seq-4)',
    title: 'What is trained, and its gradients',
  },
  {
    name: 'Optimizer',
    kinds: ['optimizer'],
    fill: 'var(--seq-2)',
    title: 'What AdamW remembers of every weight',
  },
  {
    name: 'Activations',
    kinds: ['activations'],
    fill: 'var(--neg-2)',
    title: 'What is kept of the forward pass for the backward pass',
  },
  {
    name: 'Logits',
    kinds: ['logits'],
    fill: 'var(--neg-3)',
    title: 'A piece of the rows over the vocabulary',
  },
  { name: 'Cache', kinds: ['cache'], fill: 'var(--neg-1)', title: 'Keys and values of what was read' },
  {
    name: 'Rest',
    kinds: ['scratch', 'staging'],
    fill: 'var(--ink-3)',
    title: 'Inputs, tables, parameters, and what is on its way to or from the GPU',
  },
];

/** Parts of more than nothing, in the order of the bar. */
export function memoryParts(parts: Readonly<Record<string, number>>): MemoryPart[] {
  return GROUPS.map(({ name, kinds, fill, title }) => ({
    name,
    fill,
    title,
    bytes: kinds.reduce((sum, kind) => sum + (parts[kind] ?? 0), 0),
  })).filter(({ bytes }) => bytes > 0);
}

/** Where a bar ends and where its limit lies, as shares of its width. */
export function barScale(
  bytes: number,
  limit: number | undefined,
): { used: number; limit: number | undefined } {
  if (limit === undefined) return { used: 1, limit: undefined };
  const whole = Math.max(bytes, limit);
  return { used: bytes / whole, limit: limit / whole };
}

const PHASES: Readonly<Record<string, string>> = { train: 'while training', merge: 'while merging' };

/** The phase of a plan in words. */
export function phaseWords(phase: string): string {
  const [, verb, model] = /^(read|evaluate) (.*)$/u.exec(phase) ?? [];
  if (verb === 'read') return `while reading rows of ${model}`;
  if (verb === 'evaluate') return `while evaluating ${model}`;
  return PHASES[phase] ?? phase;
}

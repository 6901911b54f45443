import { formatBytes } from '../../../util/bytes.ts';

/** What of a recipe the Fuse stage lets a person set, with bounds that keep a run sensible. */
export type Setting =
  | {
      readonly kind: 'slider';
      readonly path: string;
      readonly label: string;
      readonly help: string;
      readonly minimum: number;
      readonly maximum: number;
      readonly step: number;
    }
  | {
      readonly kind: 'number';
      readonly path: string;
      readonly label: string;
      readonly help: string;
      readonly minimum: number;
      readonly maximum: number;
      readonly step: number;
      readonly whole: boolean;
      /** May be left empty; what stands there then. */
      readonly empty?: string;
    }
  | {
      readonly kind: 'choice';
      readonly path: string;
      readonly label: string;
      readonly help: string;
      readonly options: readonly { readonly value: string; readonly label: string }[];
    };

export interface SettingGroup {
  readonly title: string;
  readonly settings: readonly Setting[];
}

export const settingGroups: readonly SettingGroup[] = [
  {
    title: 'What is learned',
    settings: [
      {
        kind: 'slider',
        path: 'fuse.lambda',
        label: 'Weight of the answers (λ)',
        help: 'The rest weighs what the source expected. At 1 the source teaches nothing.',
        minimum: 0,
        maximum: 1,
        step: 0.05,
      },
      {
        kind: 'choice',
        path: 'fuse.loss',
        label: 'What the source did not name',
        help: 'Tail: its true probability stays one class of its own. Renormalised: the named tokens share all of it, as published.',
        options: [
          { value: 'tail', label: 'Tail' },
          { value: 'renormalised', label: 'Renormalised' },
        ],
      },
      {
        kind: 'choice',
        path: 'fuse.choice',
        label: 'Who teaches a conversation',
        help: 'MinCE: the pivot or the source, whoever is less surprised by the answer. Source: always the source.',
        options: [
          { value: 'mince', label: 'MinCE' },
          { value: 'source', label: 'Source' },
        ],
      },
    ],
  },
  {
    title: 'Training',
    settings: [
      {
        kind: 'number',
        path: 'train.learningRate',
        label: 'Learning rate',
        help: 'Highest step size; it warms up and then falls like a cosine.',
        minimum: 1e-6,
        maximum: 0.1,
        step: 1e-4,
        whole: false,
      },
      {
        kind: 'number',
        path: 'train.steps',
        label: 'Steps',
        help: 'Optimizer steps of each target. Left empty, the epochs decide.',
        minimum: 1,
        maximum: 100_000,
        step: 10,
        whole: true,
        empty: 'from epochs',
      },
      {
        kind: 'number',
        path: 'train.epochs',
        label: 'Epochs',
        help: 'How often every conversation is seen, where no steps are given.',
        minimum: 0.1,
        maximum: 100,
        step: 1,
        whole: false,
      },
      {
        kind: 'number',
        path: 'train.batch',
        label: 'Batch',
        help: 'Conversations in one step.',
        minimum: 1,
        maximum: 512,
        step: 4,
        whole: true,
      },
      {
        kind: 'number',
        path: 'train.rank',
        label: 'Rank',
        help: 'Width of the adapters that hold a target’s delta.',
        minimum: 1,
        maximum: 256,
        step: 4,
        whole: true,
      },
      {
        kind: 'number',
        path: 'seed',
        label: 'Seed',
        help: 'Same seed, same device: same result.',
        minimum: 0,
        maximum: 2 ** 31 - 1,
        step: 1,
        whole: true,
      },
    ],
  },
  {
    title: 'Merging',
    settings: [
      {
        kind: 'choice',
        path: 'merge.method',
        label: 'First merge weights',
        help: 'SCE weighs each matrix by the squared change of each target; linear gives all the same. Both can be moved by hand afterwards.',
        options: [
          { value: 'sce', label: 'SCE' },
          { value: 'linear', label: 'Linear' },
        ],
      },
    ],
  },
];

const OTHER_NAMES: Readonly<Record<string, string>> = {
  pivot: 'Pivot',
  sources: 'Sources',
  precision: 'Precision of the weights',
  'train.recompute': 'Recomputation',
  'train.microBatch': 'Conversations at once',
  'train.optimizer': 'Optimizer',
  'train.maxTokens': 'Longest conversation',
  'train.matrices': 'What learns',
  'memory.scoreTokens': 'Tokens scored at once',
  'memory.limit': 'Memory at most',
};

/** How a setting is called; other parts of a recipe keep their path. */
export function settingName(path: string): string {
  for (const { settings } of settingGroups) {
    for (const setting of settings) if (setting.path === path) return setting.label;
  }
  return OTHER_NAMES[path] ?? path;
}

/** What a value is called where the recipe writes a short word for it. */
const VALUE_WORDS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  precision: { f32: '32 bits', f16: '16 bits', q8: '8 bits', q4: '4 bits' },
  'train.optimizer': { adamw: 'AdamW', adamw8bit: 'AdamW in 8 bits' },
  'train.recompute': { light: 'light', on: 'full' },
  'merge.method': { sce: 'SCE', linear: 'linear' },
};

/** A recipe's value as a person reads it; the path tells its unit and its words. */
export function showValue(value: unknown, path = ''): string {
  if (value === undefined) return 'none';
  if (path === 'memory.limit' && typeof value === 'number') return formatBytes(value);
  const word = VALUE_WORDS[path]?.[String(value)];
  if (word !== undefined) return word;
  if (Array.isArray(value)) return value.join(', ');
  if (typeof value === 'number' && value !== 0 && Math.abs(value) < 1e-3) return value.toExponential();
  return String(value);
}

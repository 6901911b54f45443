import type { Recipe } from '../../pipeline/recipe.ts';

export type Tone = 'pivot' | 'a' | 'b' | 'c' | 'd' | 'sft' | 'fused';

/** One colour and one letter for a model, the same in every picture. */
export interface Identity {
  readonly letter: string;
  readonly tone: Tone;
  readonly label: string;
  /** A target wears its source's colour, hollow. */
  readonly hollow: boolean;
}

/** As many sources as there are tones for them. */
export const maximumSources = 4;
const sourceTones: readonly Tone[] = ['a', 'b', 'c', 'd'];

/** What a name means in a recipe: `pivot`, `fused`, `merged`, `sft`, `target:NAME`, the pivot's or a source's name. */
export function identityOf(
  name: string,
  recipe: Pick<Recipe, 'pivot' | 'sources'>,
  titles: Readonly<Record<string, string>> = {},
): Identity {
  const titled = (key: string) => titles[key] ?? key;
  if (name === 'pivot' || name === recipe.pivot) {
    return { letter: 'P', tone: 'pivot', label: titled(recipe.pivot), hollow: false };
  }
  if (name === 'fused' || name === 'merged') {
    return { letter: 'F', tone: 'fused', label: 'Fused', hollow: false };
  }
  if (name === 'sft') return { letter: 'S', tone: 'sft', label: 'SFT-only', hollow: false };
  const isTarget = name.startsWith('target:');
  const source = isTarget ? name.slice('target:'.length) : name;
  const index = recipe.sources.indexOf(source);
  const tone = sourceTones[index];
  if (tone === undefined) return { letter: '·', tone: 'sft', label: titled(source), hollow: true };
  const letter = String.fromCharCode(65 + index);
  return isTarget
    ? { letter, tone, label: `Target of ${titled(source)}`, hollow: true }
    : { letter, tone, label: titled(source), hollow: false };
}

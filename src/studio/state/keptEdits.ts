/** What a person has changed in the recipe, over reloads of the page. */
import type { Recipe } from '../../pipeline/recipe.ts';
import { recipeChanges, withValue } from './recipeChanges.ts';

const key = 'alloy-recipe';
const version = 1;

interface Edit {
  readonly path: string;
  /** Absent where the value was taken out. */
  readonly value?: unknown;
}

/** Keeps the values in which a recipe differs from the sample's; forgets them where it does not. */
export function keepEdits(defaults: Recipe, recipe: Recipe): void {
  const edits = recipeChanges(defaults, recipe).map(({ path, after }): Edit => ({ path, value: after }));
  if (edits.length === 0) {
    forgetEdits();
    return;
  }
  try {
    localStorage.setItem(key, JSON.stringify({ version, edits }));
  } catch {
    // Private windows may refuse; the edits then last as long as the page.
  }
}

/** The sample's recipe with the kept edits; it may not be valid any more. Undefined where there are none. */
export function withKeptEdits(defaults: Recipe): Recipe | undefined {
  const edits = storedEdits();
  if (edits.length === 0) return undefined;
  return edits.reduce((recipe, { path, value }) => withValue(recipe, path, value), defaults);
}

export function forgetEdits(): void {
  try {
    localStorage.removeItem(key);
  } catch {
    // Nothing was kept then.
  }
}

function storedEdits(): readonly Edit[] {
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(key) ?? 'null');
    if (typeof stored !== 'object' || stored === null) return [];
    if (!('version' in stored) || stored.version !== version || !('edits' in stored)) return [];
    return Array.isArray(stored.edits) ? stored.edits.filter(isEdit) : [];
  } catch {
    return [];
  }
}

function isEdit(value: unknown): value is Edit {
  return typeof value === 'object' && value !== null && 'path' in value && typeof value.path === 'string';
}

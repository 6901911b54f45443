import type { Recipe } from '../../pipeline/recipe.ts';

export interface Change {
  /** Dotted path in the recipe, such as `train.learningRate`. */
  readonly path: string;
  readonly before: unknown;
  readonly after: unknown;
}

/** Every leaf in which two recipes differ, in the recipe's order; arrays count as one value. */
export function recipeChanges(before: Recipe, after: Recipe): readonly Change[] {
  const changes: Change[] = [];
  compare(before, after, '', changes);
  return changes;
}

function compare(before: unknown, after: unknown, path: string, changes: Change[]): void {
  if (isRecord(before) && isRecord(after)) {
    for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
      compare(before[key], after[key], path ? `${path}.${key}` : key, changes);
    }
    return;
  }
  if (JSON.stringify(before) !== JSON.stringify(after)) changes.push({ path, before, after });
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The value at a dotted path; `undefined` where the recipe has none. */
export function recipeValue(recipe: Recipe, path: string): unknown {
  let value: unknown = recipe;
  for (const key of path.split('.')) value = isRecord(value) ? value[key] : undefined;
  return value;
}

/** A copy with one leaf replaced; `undefined` removes it. */
export function withValue(recipe: Recipe, path: string, value: unknown): Recipe {
  const copy = structuredClone(recipe);
  const keys = path.split('.');
  const last = keys.pop() ?? '';
  let parent: unknown = copy;
  for (const key of keys) parent = isRecord(parent) ? parent[key] : undefined;
  if (!isRecord(parent)) return recipe;
  if (value === undefined) delete parent[last];
  else parent[last] = value;
  return copy;
}

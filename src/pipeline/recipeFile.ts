import { parseDocument, stringify } from 'yaml';
import { AlloyError } from '../util/errors.ts';
import { parseRecipe, type Recipe } from './recipe.ts';

/**
 * Reads a recipe's text, YAML or JSON, and fills in defaults.
 * @throws AlloyError `bad-recipe` naming the file and the line or the fields
 */
export function readRecipe(text: string, file: string): Recipe {
  const document = parseDocument(text, { prettyErrors: true });
  const [error] = document.errors;
  if (error) {
    const [place] = error.linePos ?? [];
    const where = place ? `line ${place.line}, column ${place.col}: ` : '';
    const [what = ''] = error.message.split(' at line ');
    throw new AlloyError('bad-recipe', `${file}, ${where}${what.trim()}; a recipe is a YAML document.`);
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 });
  } catch (cause) {
    throw new AlloyError('bad-recipe', `${file} has aliases that cannot be resolved; write the values out.`, {
      cause,
    });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new AlloyError(
      'bad-recipe',
      `${file} is ${value === null ? 'empty' : 'not a list of named fields'}; see recipes/sample.yaml for what a recipe looks like.`,
    );
  }
  return parseRecipe(value, file);
}

/** A recipe as YAML. */
export function recipeText(recipe: Recipe): string {
  return stringify(recipe, { lineWidth: 110 });
}

import { create } from 'zustand';
import type { Conversation, ModelCard } from '../../pipeline/protocol.ts';
import type { Recipe } from '../../pipeline/recipe.ts';
import { engine } from './client.ts';
import { type Fault, toFault } from './fault.ts';
import { maximumSources } from './identity.ts';
import { forgetEdits, keepEdits, withKeptEdits } from './keptEdits.ts';
import { recipeValue, withValue } from './recipeChanges.ts';

interface ProjectStore {
  readonly models: readonly ModelCard[];
  /** The sample's recipe as it came: what reset goes back to. */
  readonly defaults: Recipe | undefined;
  /** The recipe as the person has it now. */
  readonly recipe: Recipe | undefined;
  readonly train: readonly Conversation[];
  readonly heldout: readonly Conversation[];
  readonly loading: boolean;
  readonly fault: Fault | undefined;
}

export const useProject = create<ProjectStore>()(() => ({
  models: [],
  defaults: undefined,
  recipe: undefined,
  train: [],
  heldout: [],
  loading: false,
  fault: undefined,
}));

/** Reads the built-in models and the sample, with what the person had changed of it. */
export async function loadProject(): Promise<void> {
  useProject.setState({ loading: true, fault: undefined });
  try {
    const [models, sample] = await Promise.all([engine().models(), engine().sample()]);
    const edited = await editedRecipe(sample.recipe, models);
    useProject.setState(({ recipe }) => ({
      models,
      defaults: sample.recipe,
      recipe: recipe ?? edited,
      train: sample.train,
      heldout: sample.heldout,
      loading: false,
    }));
  } catch (error) {
    useProject.setState({ loading: false, fault: toFault(error) });
  }
}

/** The sample's recipe with the kept edits, or as it is where these do not make a recipe any more. */
async function editedRecipe(defaults: Recipe, models: readonly ModelCard[]): Promise<Recipe> {
  const edited = withKeptEdits(defaults);
  if (!edited) return defaults;
  try {
    const recipe = await engine().checkRecipe(edited);
    const known = new Set(models.map(({ name }) => name));
    if ([recipe.pivot, ...recipe.sources].every((name) => known.has(name))) return recipe;
  } catch {
    // Another version of the studio may have kept them.
  }
  forgetEdits();
  return defaults;
}

/** Reads again which models there are: one came or went. */
export async function reloadModels(): Promise<void> {
  useProject.setState({ models: await engine().models() });
}

/** Takes a model that is gone out of the recipe; where it was the pivot, the sample's models take over. */
export function forgetModel(name: string): void {
  useProject.setState(({ recipe, defaults }) => {
    if (!recipe || !defaults || ![recipe.pivot, ...recipe.sources].includes(name)) return {};
    const sources = recipe.sources.filter((source) => source !== name);
    const { weights: _, ...merge } = recipe.merge;
    const models =
      recipe.pivot === name || sources.length === 0 ? defaults : { pivot: recipe.pivot, sources };
    return { recipe: { ...recipe, pivot: models.pivot, sources: [...models.sources], merge } };
  });
}

/** Keeps what the person changes for the next time the page is opened; returns the way out. */
export function keepRecipe(): () => void {
  return useProject.subscribe(({ defaults, recipe }, before) => {
    if (defaults && recipe && recipe !== before.recipe) keepEdits(defaults, recipe);
  });
}

/** Changes one value of the recipe by its dotted path. */
export function editRecipe(path: string, value: unknown): void {
  useProject.setState(({ recipe }) => (recipe ? { recipe: withValue(recipe, path, value) } : {}));
}

/** Puts values back to the sample's, by their dotted paths. */
export function resetValues(paths: Iterable<string>): void {
  const { defaults } = useProject.getState();
  if (!defaults) return;
  for (const path of paths) editRecipe(path, recipeValue(defaults, path));
}

/** Gives a model its part; the former pivot becomes a source where there is room. */
export function assign(name: string, part: 'pivot' | 'source' | 'off'): void {
  useProject.setState(({ recipe }) => {
    if (!recipe) return {};
    const { pivot, sources } = assigned(recipe.pivot, recipe.sources, name, part);
    const { weights, ...merge } = recipe.merge;
    // One weight a source, in their order: they mean nothing for other sources.
    const fits = weights === undefined || sources === recipe.sources;
    return { recipe: { ...recipe, pivot, sources: [...sources], merge: fits ? recipe.merge : merge } };
  });
}

/** The rule of `assign` by itself: always exactly one pivot and at least one source. */
export function assigned(
  pivot: string,
  sources: readonly string[],
  name: string,
  part: 'pivot' | 'source' | 'off',
): { readonly pivot: string; readonly sources: readonly string[] } {
  const others = sources.filter((source) => source !== name);
  if (part === 'pivot') {
    return name === pivot
      ? { pivot, sources }
      : { pivot: name, sources: [pivot, ...others].slice(0, maximumSources) };
  }
  if (name === pivot) return { pivot, sources };
  if (part === 'off') return others.length > 0 ? { pivot, sources: others } : { pivot, sources };
  if (sources.includes(name) || sources.length >= maximumSources) return { pivot, sources };
  return { pivot, sources: [...sources, name] };
}

/** Titles by model name, for labels. */
export function titlesOf(models: readonly ModelCard[]): Readonly<Record<string, string>> {
  return Object.fromEntries(models.map((model) => [model.name, model.title]));
}

/** How a conversation is called in a list: its first question. */
export function conversationTitle(conversation: Conversation): string {
  const question = conversation.messages.find((message) => message.role === 'user');
  return question?.content.replace(/\s+/g, ' ').trim() ?? conversation.id;
}

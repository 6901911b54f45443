import { shuffle } from '../util/random.ts';
import { parseConversations } from './conversations.ts';
import type { Conversation } from './protocol.ts';
import type { Recipe } from './recipe.ts';
import type { RunContext } from './runContext.ts';

export interface Suite {
  readonly suite: string;
  readonly conversations: readonly Conversation[];
}

export interface LoadedData {
  readonly train: readonly Conversation[];
  readonly suites: readonly Suite[];
}

/** Reads a recipe's data. Held-out conversations with a domain make one suite a domain, others one a file. */
export async function loadData(context: Pick<RunContext, 'readText'>, recipe: Recipe): Promise<LoadedData> {
  const { train, heldout, limit, heldoutLimit } = recipe.data;
  const read = async (path: string, most: number | undefined) => {
    const all = parseConversations(await context.readText(path), path);
    return most === undefined || all.length <= most ? all : sample(all, most, recipe.seed, path);
  };
  const conversations: Conversation[] = [];
  for (const path of train) conversations.push(...(await read(path, limit)));
  const suites = new Map<string, Conversation[]>();
  for (const path of heldout) {
    for (const one of await read(path, heldoutLimit)) {
      const suite = one.domain ?? nameOf(path);
      suites.set(suite, [...(suites.get(suite) ?? []), one]);
    }
  }
  return {
    train: conversations,
    suites: [...suites].map(([suite, list]) => ({ suite, conversations: list })),
  };
}

/** A seeded sample that keeps the order of the file. */
function sample<T>(items: readonly T[], count: number, seed: number, path: string): T[] {
  const chosen = new Set(shuffle([...items.keys()], seed, `data limit of ${nameOf(path)}`).slice(0, count));
  return items.filter((_, index) => chosen.has(index));
}

function nameOf(path: string): string {
  return (path.split('/').at(-1) ?? path).replace(/\.jsonl$/u, '');
}

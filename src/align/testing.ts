/** Toy tokenizers and models for tests: small enough that every string can be enumerated. */
import { placeTokens } from './placement.ts';
import type { Representation } from './representation.ts';
import type { Vocabulary } from './vocabulary.ts';

export interface ToyVocabulary extends Vocabulary {
  readonly tokens: readonly string[];
  /** Id of a token's text; throws where there is none. */
  id(text: string): number;
  /** Greedy longest match. */
  split(text: string): number[];
}

const utf8 = new TextEncoder();

/** Ids 0…n−1 are the given texts, id n is the template's token, id n + 1 ends the turn. */
export function toyVocabulary(tokens: readonly string[]): ToyVocabulary {
  const split = (text: string): number[] => {
    const ids: number[] = [];
    for (let rest = text; rest !== ''; ) {
      let best = -1;
      tokens.forEach((token, id) => {
        if (rest.startsWith(token) && token.length > (tokens[best]?.length ?? 0)) best = id;
      });
      if (best < 0) throw new Error(`no token for ${rest}`);
      ids.push(best);
      rest = rest.slice(tokens[best]?.length);
    }
    return ids;
  };
  return {
    tokens,
    size: tokens.length + 2,
    endOfTurn: [tokens.length + 1],
    bytesOf: (id) => (id < tokens.length ? utf8.encode(tokens[id]) : undefined),
    encode: (bytes) => {
      try {
        return split(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
      } catch {
        return undefined;
      }
    },
    id: (text) => {
      const id = tokens.indexOf(text);
      if (id < 0) throw new Error(`no token ${text}`);
      return id;
    },
    split,
  };
}

/** Next-token probabilities [size] after some content tokens of the toy vocabulary. */
export type ToyModel = (content: readonly number[]) => Float64Array;

/** Teacher-forces a conversation of one answer: template token, content tokens, end of turn. */
export function toyRepresentation(
  vocabulary: ToyVocabulary,
  content: readonly number[],
  model: ToyModel,
  topK: number,
): Representation {
  const start = vocabulary.tokens.length;
  const tokens = [start, ...content, start + 1];
  let at = 0;
  const spans = tokens.map((id) => {
    const begin = at;
    at += vocabulary.bytesOf(id)?.length ?? 0;
    return { id, start: begin, end: at };
  });
  const count = tokens.length;
  const topIds = new Uint32Array(count * topK);
  const topLogProbs = new Float32Array(count * topK).fill(-Infinity);
  const labelLogProb = new Float32Array(count);
  const placement = placeTokens(spans, [{ start: 0, end: at }], vocabulary.endOfTurn);
  for (let row = 0; row < count; row++) {
    if (placement.scored[row] !== 1) continue;
    const probabilities = model(content.slice(0, row));
    const ranked = [...probabilities.keys()].sort(
      (a, b) => (probabilities[b] ?? 0) - (probabilities[a] ?? 0) || a - b,
    );
    ranked.slice(0, topK).forEach((id, entry) => {
      topIds[row * topK + entry] = id;
      topLogProbs[row * topK + entry] = Math.log(probabilities[id] ?? 0);
    });
    labelLogProb[row] = Math.log(probabilities[tokens[row + 1] ?? -1] ?? 0);
  }
  return {
    id: 'toy',
    topK,
    tokens: Uint32Array.from(tokens),
    ...placement,
    topIds,
    topLogProbs,
    labelLogProb,
    boundaryMass: new Float32Array(count),
  };
}

import { AlignmentTally, alignConversation } from '../align/alignConversation.ts';
import { pairRows } from '../align/pairing.ts';
import type { Representation } from '../align/representation.ts';
import { StartCounts } from '../align/startCounts.ts';
import { BOUND_RULES, PROJECTION_RULES, VocabularyMap } from '../align/vocabularyMap.ts';
import { type ConversationTargets, fuseConversation } from '../distill/fusedTargets.ts';
import { packTargets, unpackTargets } from '../distill/targetsFile.ts';
import { required } from '../util/errors.ts';
import type { OpenModel } from './openModel.ts';
import type { AlignmentSummary } from './protocol.ts';
import type { Recipe } from './recipe.ts';
import { beginWork, type RunContext, StageProgress } from './runContext.ts';

const VERSION = 2;

export interface AlignInput {
  readonly pivot: OpenModel;
  readonly ownRows: readonly Representation[];
  readonly source: OpenModel;
  readonly sourceRows: readonly Representation[];
}

/** The map that the recipe's loss needs: lower bounds only for the tail loss, the full order of J6 for the published row. */
export function vocabularyMapFor(
  recipe: Recipe,
  { pivot, ownRows, source, sourceRows }: AlignInput,
): VocabularyMap {
  if (recipe.fuse.loss === 'tail') {
    return new VocabularyMap(pivot.text.vocabulary, source.text.vocabulary, { rules: BOUND_RULES });
  }
  const counts = new StartCounts();
  const bytes = new VocabularyMap(pivot.text.vocabulary, source.text.vocabulary);
  ownRows.forEach((own, index) => {
    const other = required(sourceRows[index], 'source rows');
    counts.addPairs(
      pairRows(own, other),
      { tokens: own.tokens, bytes: bytes.pivotBytes },
      { tokens: other.tokens, bytes: bytes.sourceBytes },
    );
  });
  return new VocabularyMap(pivot.text.vocabulary, source.text.vocabulary, {
    rules: PROJECTION_RULES,
    counts,
  });
}

/** Aligns a source with the pivot and chooses what the pivot learns from, conversation by conversation. */
export async function alignSource(
  context: RunContext,
  recipe: Recipe,
  input: AlignInput,
): Promise<{ targets: readonly ConversationTargets[]; summary: AlignmentSummary }> {
  const { pivot, ownRows, source, sourceRows } = input;
  const key = await context.store.key('align', VERSION, {
    pivot: pivot.identity,
    source: source.identity,
    represent: recipe.represent,
    maxTokens: recipe.train.maxTokens,
    align: recipe.align,
    loss: recipe.fuse.loss,
    choice: recipe.fuse.choice,
    conversations: ownRows.map(({ id, tokens }) => [id, [...tokens]]),
  });
  const stored = await context.store.readAs('align', key, (bytes) => unpackTargets(bytes, key));
  const summary = await context.store.readJson<AlignmentSummary>('align-summary', key);
  if (stored && summary) {
    context.onEvent({ kind: 'stage', stage: 'align', label: source.name, cached: true });
    context.onEvent({ kind: 'alignment', summary });
    return { targets: stored, summary };
  }
  beginWork(context);
  const progress = new StageProgress(context, 'align', source.name, ownRows.length);
  const map = vocabularyMapFor(recipe, input);
  const tally = new AlignmentTally();
  const targets: ConversationTargets[] = [];
  for (const [index, own] of ownRows.entries()) {
    const other = required(sourceRows[index], 'source rows');
    const aligned = alignConversation(own, other, map, recipe.align.minimumMass);
    tally.add(own, other, aligned, map);
    const options = { ...recipe.fuse, minimumMass: recipe.align.minimumMass };
    targets.push(fuseConversation(own, other, map, options, aligned));
    if (index % 16 === 15) await progress.update(index + 1);
  }
  const made: AlignmentSummary = {
    source: source.name,
    ...tally.counts(),
    won: targets.filter(({ chosen }) => chosen === 'source').length,
    conversations: targets.length,
  };
  await context.store.write('align', key, new Uint8Array(packTargets(targets)));
  await context.store.writeJson('align-summary', key, made);
  progress.tell(ownRows.length);
  context.onEvent({ kind: 'alignment', summary: made });
  return { targets, summary: made };
}

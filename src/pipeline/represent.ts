import type { Representation } from '../align/representation.ts';
import { packRepresentations, unpackRepresentations } from '../align/representationFile.ts';
import { markIds } from '../kernels/rowStats.ts';
import type { LoadedModel } from '../models/loadedModel.ts';
import { type RowScorer, rowScorer } from '../models/rowScorer.ts';
import { hashOf } from '../util/hash.ts';
import { checkLogProbs, type OpenModel } from './openModel.ts';
import type { Conversation } from './protocol.ts';
import { beginWork, type RunContext, StageProgress, scoreBatch } from './runContext.ts';

const VERSION = 2;
/** Conversations in one artifact: what a killed run loses at most. */
const SHARD = 64;

export interface RepresentOptions {
  readonly topK: number;
  /** Tokens; longer conversations are cut on the right. */
  readonly maxTokens: number;
}

/**
 * Runs a model over conversations and keeps sparse rows. Finished shards are read from the store.
 * @param load gives the model on the GPU; only called when a shard is missing
 */
export async function represent(
  context: RunContext,
  model: OpenModel,
  load: () => Promise<LoadedModel>,
  conversations: readonly Conversation[],
  options: RepresentOptions,
  label: string,
): Promise<Representation[]> {
  const shards: (readonly Conversation[])[] = [];
  for (let from = 0; from < conversations.length; from += SHARD)
    shards.push(conversations.slice(from, from + SHARD));
  const keys = await Promise.all(
    shards.map((shard) =>
      context.store.key('represent', VERSION, {
        model: model.identity,
        options,
        conversations: shard.map(({ id, messages }) => ({ id, messages })),
      }),
    ),
  );
  const found: Representation[][] = [];
  const missing: number[] = [];
  for (const [index, key] of keys.entries()) {
    const kept = await context.store.readAs('represent', key, (bytes) => unpackRepresentations(bytes, key));
    if (kept) found[index] = [...kept.conversations];
    else missing.push(index);
  }
  if (missing.length === 0) {
    context.onEvent({ kind: 'stage', stage: 'represent', label, cached: true });
    return found.flat();
  }
  beginWork(context);
  const progress = new StageProgress(context, 'represent', label, conversations.length);
  const scorer = await makeScorer(context, model, load, options.topK);
  try {
    let done = conversations.length - missing.reduce((sum, index) => sum + (shards[index]?.length ?? 0), 0);
    progress.tell(done);
    for (const index of missing) {
      const shard = shards[index] ?? [];
      const rows = await representShard(model, scorer, shard, options, (count) =>
        progress.update(done + count),
      );
      done += shard.length;
      const key = keys[index] ?? '';
      const bytes = new Uint8Array(packRepresentations({ model: model.identity, conversations: rows }));
      await context.store.write('represent', key, bytes);
      found[index] = [...unpackRepresentations(bytes, key).conversations];
    }
  } finally {
    scorer.dispose();
  }
  return found.flat();
}

async function makeScorer(
  context: RunContext,
  model: OpenModel,
  load: () => Promise<LoadedModel>,
  topK: number,
): Promise<RowScorer> {
  const loaded = await load();
  if (loaded.frozen) context.onEvent({ kind: 'note', text: loaded.frozen.status });
  const marks = markIds(model.text.boundaryIds(), model.config.vocabSize);
  return rowScorer(context.device, loaded, { topK, marks, ...scoreBatch(context) });
}

/** Longest first in batches of similar length; results in the order of the conversations. */
async function representShard(
  model: OpenModel,
  scorer: RowScorer,
  shard: readonly Conversation[],
  { topK, maxTokens }: RepresentOptions,
  onDone: (count: number) => Promise<void>,
): Promise<Representation[]> {
  const encoded = shard.map((conversation, index) => ({
    index,
    id: conversation.id,
    ...model.text.encode(conversation.messages, maxTokens, { openEnd: isTrimmed(conversation) }),
  }));
  const queue = [...encoded].sort((a, b) => b.tokens.length - a.tokens.length || a.index - b.index);
  const results = new Array<Representation>(shard.length);
  for (let from = 0; from < queue.length; ) {
    const batch = queue.slice(from, from + scorer.batchFor(queue[from]?.tokens.length ?? 1));
    const rows = await scorer.score(batch.map(({ tokens }) => tokens));
    batch.forEach(({ index, ...one }, place) => {
      const row = rows[place];
      if (row) checkLogProbs(model, row.labelLogProb.subarray(0, one.tokens.length - 1));
      if (row) results[index] = { ...one, topK: Math.min(topK, model.config.vocabSize), ...row };
    });
    from += batch.length;
    await onDone(from);
  }
  return results;
}

/** Data files mark an answer that somebody cut by its id: a model must not learn to stop there. */
export function isTrimmed({ id }: Pick<Conversation, 'id'>): boolean {
  return id.endsWith('-trim');
}

/** Identifies conversations by their content and by how they are read. */
export function hashConversations(conversations: readonly Conversation[]): Promise<string> {
  return hashOf([VERSION, conversations.map(({ id, messages }) => ({ id, messages }))]);
}

import type { Representation } from '../align/representation.ts';
import { BOUND_RULES, PROJECTION_RULES, VocabularyMap } from '../align/vocabularyMap.ts';
import type { FuseOptions } from '../distill/fusedTargets.ts';
import { alignmentView, type Reading } from './alignmentView.ts';
import type { ModelShelf } from './modelShelf.ts';
import type { OpenModel } from './openModel.ts';
import type { AlignmentView, Conversation } from './protocol.ts';
import { Recent } from './recent.ts';

/** Longer conversations are cut on the right. */
const MOST_TOKENS = 1024;
const KEPT_ROWS = 256;
const KEPT_VIEWS = 128;
const KEPT_MAPS = 8;

/** Aligns single conversations for looking at, and remembers what it worked out. Holds nothing on the GPU. */
export class Aligner {
  readonly #rows = new Recent<Promise<Representation>>(KEPT_ROWS);
  readonly #views = new Recent<AlignmentView>(KEPT_VIEWS);
  readonly #maps = new Recent<VocabularyMap>(KEPT_MAPS);

  async align(
    shelf: ModelShelf,
    pivot: OpenModel,
    source: OpenModel,
    conversation: Conversation,
    options: FuseOptions,
  ): Promise<AlignmentView> {
    const content = JSON.stringify(conversation.messages);
    const { loss, choice, minimumMass } = options;
    const key = `${pivot.identity} ${source.identity} ${loss} ${choice} ${minimumMass} ${content}`;
    const known = this.#views.get(key);
    if (known) return known;
    const read = async (model: OpenModel): Promise<Reading> => ({
      tokenizer: model.text.tokenizer,
      rows: await this.#represent(shelf, model, conversation, content),
    });
    const text = conversation.messages.findLast(({ role }) => role === 'assistant')?.content ?? '';
    const map = this.#map(pivot, source, loss);
    const view = alignmentView(text, await read(pivot), await read(source), map, options);
    this.#views.set(key, view);
    return view;
  }

  #represent(
    shelf: ModelShelf,
    model: OpenModel,
    conversation: Conversation,
    content: string,
  ): Promise<Representation> {
    const key = `${model.identity} ${content}`;
    const known = this.#rows.get(key);
    if (known) return known;
    const most = Math.min(model.config.maxPositions, MOST_TOKENS);
    const made = shelf.use(model.name, (runner) => runner.represent(conversation, most));
    this.#rows.set(key, made);
    made.catch(() => this.#rows.delete(key));
    return made;
  }

  /** The map of a loss. Of the published row it lacks what a run counts over all of its conversations. */
  #map(pivot: OpenModel, source: OpenModel, loss: FuseOptions['loss']): VocabularyMap {
    const key = `${pivot.identity} ${source.identity} ${loss}`;
    let map = this.#maps.get(key);
    if (!map) {
      const rules = loss === 'tail' ? BOUND_RULES : PROJECTION_RULES.filter((rule) => rule !== 'count');
      map = new VocabularyMap(pivot.text.vocabulary, source.text.vocabulary, { rules });
      this.#maps.set(key, map);
    }
    return map;
  }
}

import { create } from 'zustand';
import type { MergeView, Message, NextToken } from '../../pipeline/protocol.ts';
import type { Recipe } from '../../pipeline/recipe.ts';
import { engine } from './client.ts';
import { type Fault, toFault } from './fault.ts';
import { createLatest } from './latest.ts';
import { notifyFault } from './notices.ts';
import { overridden } from './weightEdit.ts';

interface Probe {
  readonly nllPerByte: number;
  readonly ms: number;
}

interface MergeStore {
  readonly view: MergeView | undefined;
  /** What the fused model was made by; the project's recipe may have moved on. */
  readonly recipe: Recipe | undefined;
  readonly loading: boolean;
  readonly fault: Fault | undefined;
  /** One a cell of the view, as the person has set them. */
  readonly weights: readonly number[];
  /** Indices into `view.cells`. */
  readonly selection: ReadonlySet<number>;
  /** Where a shift-selection starts. */
  readonly anchor: number | undefined;
  readonly past: readonly (readonly number[])[];
  readonly future: readonly (readonly number[])[];
  readonly probe: Probe | undefined;
  /** The probe of the weights as they were when this merge was opened. */
  readonly probeReference: Probe | undefined;
  readonly probing: boolean;
  readonly prompt: string;
  readonly next: readonly NextToken[];
  /** The first distribution for this prompt: what the ticks beside the bars show. */
  readonly nextReference: readonly NextToken[];
  readonly predicting: boolean;
  readonly liveFault: Fault | undefined;
}

const initial: MergeStore = {
  view: undefined,
  recipe: undefined,
  loading: false,
  fault: undefined,
  weights: [],
  selection: new Set(),
  anchor: undefined,
  past: [],
  future: [],
  probe: undefined,
  probeReference: undefined,
  probing: false,
  prompt: '',
  next: [],
  nextReference: [],
  predicting: false,
  liveFault: undefined,
};

export const useMerge = create<MergeStore>()(() => initial);

/** How long the weights must rest before the probe is scored. */
const probePauseMs = 120;
const undoSteps = 100;
export const nextTokenCount = 8;

/** What the worker has; the difference to the store is what `push` sends. */
let sent: readonly number[] = [];
let pushing: Promise<void> = Promise.resolve();
/** Hand-set weights of the methods that are not shown now. */
const byHand = new Map<MergeView['method'], readonly number[]>();

/** Sends the cells that changed, one call after the other, so that an older write never lands last. */
function push(): Promise<void> {
  pushing = pushing.then(async () => {
    const { view, weights } = useMerge.getState();
    if (!view) return;
    const changed = view.cells.flatMap(({ layer, matrix, source }, index) => {
      const weight = weights[index];
      return weight === undefined || weight === sent[index] ? [] : [{ layer, matrix, source, weight }];
    });
    if (changed.length === 0) return;
    await engine().setWeights(changed);
    sent = weights;
  });
  const done = pushing;
  pushing = pushing.catch(() => {});
  return done;
}

const liveFailed = (error: unknown) =>
  useMerge.setState({ probing: false, predicting: false, liveFault: toFault(error) });

const probeLatest = createLatest(
  async () => {
    await push();
    return engine().probe();
  },
  (probe) =>
    useMerge.setState(({ probeReference }) => ({
      probe,
      probeReference: probeReference ?? probe,
      probing: false,
      liveFault: undefined,
    })),
  liveFailed,
  probePauseMs,
);

const nextLatest = createLatest(
  async () => {
    await push();
    const { prompt } = useMerge.getState();
    const messages: Message[] = [{ role: 'user', content: prompt }];
    return prompt.trim() ? engine().nextTokens('fused', messages, nextTokenCount) : [];
  },
  (next) =>
    useMerge.setState(({ nextReference }) => ({
      next,
      nextReference: nextReference.length > 0 ? nextReference : next,
      predicting: false,
      liveFault: undefined,
    })),
  liveFailed,
);

/** Asks the live model again, for one after another device took it over. */
export function refreshLive(): void {
  if (!useMerge.getState().view) return;
  useMerge.setState({ probing: true, predicting: true });
  nextLatest.request();
  probeLatest.request();
}

/** Reads the merge of the last finished run. @param recipe what that run was started with; kept when left out */
export async function loadMerge(recipe = useMerge.getState().recipe): Promise<void> {
  useMerge.setState({ loading: true, fault: undefined });
  byHand.clear();
  try {
    takeView(await engine().mergeView(), recipe);
  } catch (error) {
    useMerge.setState({ loading: false, fault: toFault(error) });
  }
}

function takeView(view: MergeView, recipe: Recipe | undefined): void {
  probeLatest.cancel();
  nextLatest.cancel();
  const weights = view.cells.map((cell) => cell.weight);
  sent = weights;
  useMerge.setState(({ prompt }) => ({ ...initial, view, recipe, weights, prompt }));
  refreshLive();
}

/** Lets a method compute every weight anew. What was set by hand under the one before comes back with that method. */
export async function setMethod(method: 'sce' | 'linear'): Promise<void> {
  const { view, weights, recipe } = useMerge.getState();
  if (!view || view.method === method) return;
  if (overridden(view, weights).length > 0) byHand.set(view.method, weights);
  else byHand.delete(view.method);
  useMerge.setState({ loading: true });
  try {
    const next = await engine().setMethod(method);
    takeView(next, recipe);
    const kept = byHand.get(method);
    if (kept && kept.length === next.cells.length) changeWeights(kept);
  } catch (error) {
    notifyFault('The merge method could not be changed', error);
    useMerge.setState({ loading: false });
  }
}

/**
 * Takes new weights and moves the live model.
 * @param step `new` opens a step that undo goes back over; `same` continues the one before (a slider under way)
 */
export function changeWeights(weights: readonly number[], step: 'new' | 'same' = 'new'): void {
  const { weights: before, past } = useMerge.getState();
  if (weights.every((weight, index) => weight === before[index])) return;
  useMerge.setState({
    weights,
    past: step === 'same' && past.length > 0 ? past : [...past, before].slice(-undoSteps),
    future: [],
  });
  refreshLive();
}

export function undo(): void {
  const { past, future, weights } = useMerge.getState();
  const before = past.at(-1);
  if (!before) return;
  useMerge.setState({ weights: before, past: past.slice(0, -1), future: [weights, ...future] });
  refreshLive();
}

export function redo(): void {
  const { past, future, weights } = useMerge.getState();
  const after = future[0];
  if (!after) return;
  useMerge.setState({ weights: after, past: [...past, weights], future: future.slice(1) });
  refreshLive();
}

/** Puts cells back to what the method computed; all of them without an argument. */
export function resetCells(cells?: ReadonlySet<number>): void {
  const { view, weights } = useMerge.getState();
  if (!view) return;
  changeWeights(
    weights.map((weight, index) =>
      cells === undefined || cells.has(index) ? (view.cells[index]?.computed ?? weight) : weight,
    ),
  );
}

/**
 * @param how `replace` selects these alone, `add` joins them, `toggle` flips them
 * @param anchor where the next shift-selection starts; kept when left out
 */
export function select(
  cells: readonly number[],
  how: 'replace' | 'add' | 'toggle' = 'replace',
  anchor?: number,
): void {
  useMerge.setState((state) => {
    const selection = new Set(how === 'replace' ? [] : state.selection);
    const allIn = cells.every((cell) => selection.has(cell));
    for (const cell of cells) {
      if (how === 'toggle' && allIn) selection.delete(cell);
      else selection.add(cell);
    }
    return { selection, anchor: anchor ?? state.anchor };
  });
}

export function clearSelection(): void {
  useMerge.setState({ selection: new Set(), anchor: undefined });
}

export function setPrompt(prompt: string): void {
  useMerge.setState({ prompt, nextReference: [], predicting: true });
  nextLatest.request();
}

export const selectOverridden = (state: MergeStore): number =>
  state.view ? overridden(state.view, state.weights).length : 0;

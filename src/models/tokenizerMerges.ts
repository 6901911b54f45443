/**
 * Byte-pair encoding proper: a list of symbols whose neighbours are merged, best pair first, leftmost first among equals.
 * Two rule books: merges with ranks (tokenizer.json, GGUF `gpt2`) and scores of the merged token (SentencePiece, GGUF `llama`).
 */

/** What may be merged. Symbols are numbers ≥ 0, or < 0 for text that is no token. */
export interface MergeRules {
  /** A handle of the rule for these neighbours, or −1. */
  find(left: number, right: number): number;
  /** Rules of lower cost come first. */
  cost(handle: number): number;
  /** The merged symbol. */
  result(handle: number): number;
}

/** A binary heap of merge candidates, ordered by cost and then by place. */
class CandidateHeap {
  readonly #costs: number[] = [];
  readonly #places: number[] = [];
  readonly #handles: number[] = [];

  get size(): number {
    return this.#costs.length;
  }

  get place(): number {
    return this.#places[0] ?? 0;
  }

  get handle(): number {
    return this.#handles[0] ?? 0;
  }

  push(cost: number, place: number, handle: number): void {
    let at = this.#costs.length;
    this.#set(at, cost, place, handle);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#before(at, parent)) break;
      this.#swap(at, parent);
      at = parent;
    }
  }

  pop(): void {
    const last = this.#costs.length - 1;
    this.#swap(0, last);
    this.#costs.length = last;
    this.#places.length = last;
    this.#handles.length = last;
    let at = 0;
    for (;;) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2])
        if (child < last && this.#before(child, least)) least = child;
      if (least === at) return;
      this.#swap(at, least);
      at = least;
    }
  }

  #before(a: number, b: number): boolean {
    const costA = this.#costs[a] ?? 0;
    const costB = this.#costs[b] ?? 0;
    return costA < costB || (costA === costB && (this.#places[a] ?? 0) < (this.#places[b] ?? 0));
  }

  #set(at: number, cost: number, place: number, handle: number): void {
    this.#costs[at] = cost;
    this.#places[at] = place;
    this.#handles[at] = handle;
  }

  #swap(a: number, b: number): void {
    for (const list of [this.#costs, this.#places, this.#handles]) {
      const value = list[a] ?? 0;
      list[a] = list[b] ?? 0;
      list[b] = value;
    }
  }
}

/** Merges until no rule applies. O(n log n) in the number of symbols. */
export function mergeSymbols(symbols: readonly number[], rules: MergeRules): number[] {
  const count = symbols.length;
  if (count < 2) return [...symbols];
  const value = [...symbols];
  const next = value.map((_, i) => i + 1);
  const previous = value.map((_, i) => i - 1);
  const gone = new Uint8Array(count);
  const heap = new CandidateHeap();
  const consider = (left: number): void => {
    const right = next[left] ?? count;
    if (left < 0 || right >= count) return;
    const handle = rules.find(value[left] ?? 0, value[right] ?? 0);
    if (handle >= 0) heap.push(rules.cost(handle), left, handle);
  };
  for (let i = 0; i + 1 < count; i++) consider(i);
  while (heap.size > 0) {
    const { place, handle } = heap;
    heap.pop();
    const right = next[place] ?? count;
    const stale = gone[place] === 1 || right >= count;
    if (stale || rules.find(value[place] ?? 0, value[right] ?? 0) !== handle) continue;
    value[place] = rules.result(handle);
    gone[right] = 1;
    const after = next[right] ?? count;
    next[place] = after;
    if (after < count) previous[after] = place;
    consider(previous[place] ?? -1);
    consider(place);
  }
  return value.filter((_, i) => gone[i] === 0);
}

/** (left id, right id) → rank, in an open hash table of typed arrays: half a million merges load in a fraction of a second. */
export class MergeTable implements MergeRules {
  readonly #mask: number;
  readonly #slots: Int32Array;
  readonly #left: Int32Array;
  readonly #right: Int32Array;
  readonly #merged: Int32Array;
  #count = 0;

  constructor(capacity: number) {
    const size = 2 ** Math.ceil(Math.log2(2 * capacity + 2));
    this.#mask = size - 1;
    this.#slots = new Int32Array(size).fill(-1);
    this.#left = new Int32Array(capacity);
    this.#right = new Int32Array(capacity);
    this.#merged = new Int32Array(capacity);
  }

  /** Adds the next rule; one for a pair that has a rule already is counted but never found. */
  add(left: number, right: number, merged: number): void {
    const rank = this.#count++;
    this.#left[rank] = left;
    this.#right[rank] = right;
    this.#merged[rank] = merged;
    const slot = this.#slot(left, right);
    if (this.#slots[slot] === -1) this.#slots[slot] = rank;
  }

  find(left: number, right: number): number {
    return this.#slots[this.#slot(left, right)] ?? -1;
  }

  cost(handle: number): number {
    return handle;
  }

  result(handle: number): number {
    return this.#merged[handle] ?? -1;
  }

  #slot(left: number, right: number): number {
    let slot = (Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b)) >>> 0;
    slot = (slot ^ (slot >>> 15)) & this.#mask;
    for (;;) {
      const rank = this.#slots[slot] ?? -1;
      if (rank === -1 || (this.#left[rank] === left && this.#right[rank] === right)) return slot;
      slot = (slot + 1) & this.#mask;
    }
  }
}

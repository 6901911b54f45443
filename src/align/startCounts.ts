import type { Pairing } from './pairing.ts';
import type { TokenBytes } from './vocabulary.ts';

/**
 * Start-aligned statistics C[p, s] (methods A.8): how often pivot token p begins where source token s begins, both
 * having read the same bytes. One of the two is then a prefix of the other.
 */
export class StartCounts {
  readonly #counts = new Map<number, Map<number, number>>();

  add(pivotId: number, sourceId: number, count = 1): void {
    const row = this.#counts.get(sourceId) ?? new Map<number, number>();
    this.#counts.set(sourceId, row);
    row.set(pivotId, (row.get(pivotId) ?? 0) + count);
  }

  get(pivotId: number, sourceId: number): number {
    return this.#counts.get(sourceId)?.get(pivotId) ?? 0;
  }

  /** The pivot token that begins most often where this source token does; the lowest id on ties. */
  best(sourceId: number): { readonly id: number; readonly count: number } | undefined {
    let best: { id: number; count: number } | undefined;
    for (const [id, count] of this.#counts.get(sourceId) ?? []) {
      if (best === undefined || count > best.count || (count === best.count && id < best.id)) {
        best = { id, count };
      }
    }
    return best;
  }

  /** Counts the tokens that follow every pair of rows; special tokens are left out. */
  addPairs(
    pairing: Pairing,
    pivot: { readonly tokens: ArrayLike<number>; readonly bytes: TokenBytes },
    source: { readonly tokens: ArrayLike<number>; readonly bytes: TokenBytes },
  ): void {
    pairing.source.forEach((from, row) => {
      if (from < 0) return;
      const pivotId = pivot.tokens[row + 1] ?? -1;
      const sourceId = source.tokens[from + 1] ?? -1;
      if (pivot.bytes.of(pivotId) === undefined || source.bytes.of(sourceId) === undefined) return;
      this.add(pivotId, sourceId);
    });
  }
}

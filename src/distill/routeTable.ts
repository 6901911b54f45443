import type { Representation } from '../align/representation.ts';
import { type ConversationTargets, TARGET_KINDS, type TargetKind } from './fusedTargets.ts';

/** One kind of row over a data set: how good its targets are on the true next token, against the pivot itself. */
export interface RouteRow {
  readonly kind: TargetKind;
  readonly rows: number;
  /** Mean −log p of the label under the pivot, nats. */
  readonly pivotNats: number;
  /** Mean −log t(label) of the target, nats, over the rows that have the label. */
  readonly targetNats: number;
  /** Rows whose target gives the label no probability. */
  readonly withoutLabel: number;
}

/** Adds up the route table of distillation.md 5: where a kind's target is worse than the pivot, it can't teach. */
export class RouteTally {
  readonly #rows = TARGET_KINDS.map((kind) => ({ kind, rows: 0, pivot: 0, target: 0, withoutLabel: 0 }));

  add(targets: ConversationTargets, pivot: Representation): void {
    targets.rows.forEach((row, index) => {
      const into = this.#rows[targets.kinds[index] ?? -1];
      if (into === undefined) return;
      const label = pivot.tokens[row + 1] ?? -1;
      const at = index * targets.width;
      const entry = targets.ids.subarray(at, at + (targets.counts[index] ?? 0)).indexOf(label);
      const probability = entry < 0 ? 0 : (targets.probabilities[at + entry] ?? 0);
      into.rows++;
      into.pivot -= pivot.labelLogProb[row] ?? 0;
      if (probability > 0) into.target -= Math.log(probability);
      else into.withoutLabel++;
    });
  }

  /** Kinds that occurred, in the order of `TARGET_KINDS`. */
  table(): readonly RouteRow[] {
    return this.#rows
      .filter(({ rows }) => rows > 0)
      .map(({ kind, rows, pivot, target, withoutLabel }) => ({
        kind,
        rows,
        pivotNats: pivot / rows,
        targetNats: rows > withoutLabel ? target / (rows - withoutLabel) : Number.NaN,
        withoutLabel,
      }));
  }
}

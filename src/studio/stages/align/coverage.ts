import type { AlignmentView, MatchReason } from '../../../pipeline/protocol.ts';
import { reasonOrder } from '../../views/reasons.ts';

export interface Coverage {
  /** Share of the scored pivot positions that got a row, 0..1. */
  readonly coverage: number;
  readonly scored: number;
  readonly reasons: Readonly<Record<MatchReason, number>>;
  readonly tokensPerByte: { readonly pivot: number; readonly source: number };
}

/** The figures of one conversation, as the run's summary has them for all. */
export function coverageOf(view: AlignmentView): Coverage {
  const reasons = Object.fromEntries(reasonOrder.map((reason) => [reason, 0])) as Record<MatchReason, number>;
  for (const pair of view.pairs) reasons[pair.reason]++;
  const scored = view.pairs.length - reasons['not-scored'];
  const bytes = Math.max(1, new TextEncoder().encode(view.text).length);
  return {
    coverage: scored > 0 ? reasons.paired / scored : 0,
    scored,
    reasons,
    tokensPerByte: { pivot: view.pivot.length / bytes, source: view.source.length / bytes },
  };
}

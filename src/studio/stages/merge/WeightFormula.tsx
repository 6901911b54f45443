import { Fragment } from 'react';
import { useIdentity } from '../../app/useIdentity.ts';
import { useMerge } from '../../state/merge.ts';
import { indexCells } from '../../state/weightEdit.ts';
import { ModelBadge } from '../../views/ModelBadge.tsx';
import classes from './MergeStage.module.css';

/** What the fused matrix is, in numbers, for the cell under the pointer or the last selected one. */
export function WeightFormula({ hovered }: { readonly hovered: number | undefined }) {
  const view = useMerge((state) => state.view);
  const weights = useMerge((state) => state.weights);
  const anchor = useMerge((state) => state.anchor);
  const identify = useIdentity('merged');
  const cell = view?.cells[hovered ?? anchor ?? -1];
  if (!view || !cell) {
    return (
      <p className={classes.formula}>
        Click a cell, drag over some, or use a row’s, a column’s or a source’s name; then move the weight
        below.
      </p>
    );
  }
  const at = indexCells(view);
  return (
    <p className={`${classes.formula} num`}>
      <strong>
        layer {cell.layer} {cell.matrix}
      </strong>
      <span>=</span>
      <ModelBadge identity={identify('pivot')} size={14} />
      {view.sources.map((source, index) => {
        const weight = weights[at(index, cell.layer, cell.matrix)] ?? 0;
        return (
          <Fragment key={source}>
            <span>
              {weight < 0 ? '−' : '+'} {Math.abs(weight).toFixed(3)} · Δ
            </span>
            <ModelBadge identity={{ ...identify(source), hollow: true }} size={14} />
          </Fragment>
        );
      })}
    </p>
  );
}

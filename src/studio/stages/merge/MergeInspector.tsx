import { useIdentity } from '../../app/useIdentity.ts';
import { useLayout } from '../../state/layout.ts';
import { useMerge } from '../../state/merge.ts';
import { indexCells } from '../../state/weightEdit.ts';
import { FactList } from '../../views/FactList.tsx';
import { formatShare, formatSigned } from '../../views/format.ts';
import { InspectorSection } from '../../views/InspectorSection.tsx';
import { ModelBadge } from '../../views/ModelBadge.tsx';
import classes from './MergeStage.module.css';

/** One matrix in numbers: every source's weight, what the method computed, how large its delta is, where they disagree. */
export function MergeInspector() {
  const focus = useLayout((state) => state.focus);
  const view = useMerge((state) => state.view);
  const weights = useMerge((state) => state.weights);
  const identify = useIdentity('merged');
  const matrix = focus?.kind === 'cell' || focus?.kind === 'conflict' ? focus : undefined;
  if (!view || !matrix) {
    return (
      <InspectorSection title="Matrix">
        <p>
          Every matrix of the fused model is the pivot’s plus a weighted sum of what each target changed.
          Select a cell to see its numbers.
        </p>
        <p>
          The bars below the grids are the likeliest first tokens of the fused model’s answer; a tick marks
          where each was when its prompt was first asked.
        </p>
        <p className={classes.hint}>
          Arrow keys move, + and − change by 0.01 (Shift: 0.1), Enter types a value.
        </p>
      </InspectorSection>
    );
  }
  const at = indexCells(view);
  const conflict = view.conflicts.find(
    (entry) => entry.layer === matrix.layer && entry.matrix === matrix.matrix,
  )?.share;
  return (
    <>
      <InspectorSection title={`Layer ${matrix.layer}, ${matrix.matrix}`}>
        <FactList
          facts={[['Disagreement', conflict === undefined ? '–' : `${formatShare(conflict)} of the change`]]}
        />
      </InspectorSection>
      {view.sources.map((source, index) => {
        const position = at(index, matrix.layer, matrix.matrix);
        const cell = view.cells[position];
        if (!cell) return null;
        const weight = weights[position] ?? cell.weight;
        return (
          <InspectorSection key={source} title={<ModelBadge identity={identify(source)} named />}>
            <FactList
              facts={[
                ['Weight', weight.toFixed(4)],
                [
                  'Computed',
                  weight === cell.computed
                    ? 'the same'
                    : `${cell.computed.toFixed(4)} (${formatSigned(weight - cell.computed, 4)} by hand)`,
                ],
                ['Size of its delta', `${cell.norm.toPrecision(3)} (L2 norm)`],
                ['Weight × size', (Math.abs(weight) * cell.norm).toPrecision(3)],
              ]}
            />
          </InspectorSection>
        );
      })}
    </>
  );
}

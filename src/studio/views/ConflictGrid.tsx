import type { MergeView } from '../../pipeline/protocol.ts';
import { formatShare } from './format.ts';
import classes from './WeightGrids.module.css';
import { weightColour } from './weightScale.ts';

const scale = { low: 0, high: 1 };

/** Where the sources pull a matrix in opposite directions: share of |delta| whose sign is outvoted, 0 to 1. */
export function ConflictGrid({
  view,
  chosen,
  onChoose,
}: {
  readonly view: MergeView;
  readonly chosen: { readonly layer: number; readonly matrix: string } | undefined;
  readonly onChoose: (layer: number, matrix: string) => void;
}) {
  const shares = new Map(view.conflicts.map(({ layer, matrix, share }) => [`${layer} ${matrix}`, share]));
  return (
    <table className={classes.conflicts} aria-label="Share of conflict by layer and matrix">
      <thead>
        <tr>
          <th scope="col">
            <span className="visually-hidden">Layer</span>
          </th>
          {view.matrices.map((matrix) => (
            <th key={matrix} scope="col">
              {matrix}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {Array.from({ length: view.layers }, (_, layer) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: a layer's number is its name
          <tr key={layer}>
            <th scope="row">{layer}</th>
            {view.matrices.map((matrix) => {
              const share = shares.get(`${layer} ${matrix}`);
              if (share === undefined) return <td key={matrix} className={classes.missing} />;
              const { background, deep } = weightColour(share, scale);
              return (
                <td key={matrix}>
                  <button
                    type="button"
                    className={classes.conflict}
                    style={{ background }}
                    data-deep={deep || undefined}
                    aria-pressed={chosen?.layer === layer && chosen.matrix === matrix}
                    aria-label={`Layer ${layer}, ${matrix}: ${formatShare(share)}`}
                    onClick={() => onChoose(layer, matrix)}
                  >
                    {formatShare(share).replace(' ', ' ')}
                  </button>
                </td>
              );
            })}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

import { type KeyboardEvent, memo, type PointerEvent, useMemo, useRef, useState } from 'react';
import type { MergeView } from '../../pipeline/protocol.ts';
import type { Identity } from '../state/identity.ts';
import { boxBetween, cellsWhere, indexCells } from '../state/weightEdit.ts';
import { ModelBadge } from './ModelBadge.tsx';
import { useStable } from './useStable.ts';
import classes from './WeightGrids.module.css';
import { shortWeight, type WeightScale, weightColour } from './weightScale.ts';

export type SelectHow = 'replace' | 'add' | 'toggle';

interface GridsProps {
  readonly view: MergeView;
  readonly weights: readonly number[];
  readonly scale: WeightScale;
  readonly selection: ReadonlySet<number>;
  readonly anchor: number | undefined;
  /** Cells whose weight was set by hand. */
  readonly overridden: ReadonlySet<number>;
  readonly identify: (name: string) => Identity;
  /** Cell index, or none. */
  readonly onHover: (cell: number | undefined) => void;
  readonly onFocusCell: (cell: number) => void;
  readonly onSelect: (cells: readonly number[], how: SelectHow, anchor?: number) => void;
  readonly onClear: () => void;
  /** Adds to the selected weights. */
  readonly onNudge: (by: number) => void;
  /** Enter: go and type a value. */
  readonly onEdit: () => void;
}

/** One grid a source, layers down and matrices across, all on one scale; one place in the tab order for all of them. */
export function WeightGrids(props: GridsProps) {
  const { view, selection, anchor, identify, onHover, onFocusCell, onSelect, onClear, onNudge, onEdit } =
    props;
  const root = useRef<HTMLDivElement>(null);
  const [hovered, setHovered] = useState<number>();
  const [current, setCurrent] = useState(0);
  const at = useMemo(() => indexCells(view), [view]);
  const hover = useStable((cell: number | undefined) => {
    setHovered(cell);
    onHover(cell);
  });
  const pick = useStable((cell: number, event: Modifiers) => {
    setCurrent(cell);
    onFocusCell(cell);
    if (event.shiftKey && anchor !== undefined) onSelect(boxBetween(view, anchor, cell), 'replace');
    else if (event.ctrlKey || event.metaKey) onSelect([cell], 'toggle', cell);
    else onSelect([cell], 'replace', cell);
  });
  const drag = useStable((cell: number, event: PointerEvent) => {
    if (event.buttons !== 1 || event.pointerType !== 'mouse' || anchor === undefined) return;
    onSelect(boxBetween(view, anchor, cell), 'replace');
  });
  const press = (event: KeyboardEvent) => {
    const step = event.shiftKey ? 0.1 : 0.01;
    const next = neighbour(view, at, current, event.key);
    if (next !== undefined) {
      pick(next, event);
      root.current?.querySelector<HTMLElement>(`[data-cell="${next}"]`)?.focus();
    } else if (event.key === '+' || event.key === '=') onNudge(step);
    else if (event.key === '-' || event.key === '_' || event.key === '−') onNudge(-step);
    else if (event.key === 'Escape') onClear();
    else if (event.key === 'Enter') onEdit();
    else if (event.key === ' ') pick(current, event);
    else if (event.key === 'a' && (event.ctrlKey || event.metaKey))
      onSelect(cellsWhere(view, {}), 'replace', 0);
    else return;
    event.preventDefault();
  };
  const hoveredCell = hovered === undefined ? undefined : view.cells[hovered];
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: leaving it only ends the highlight of a hover
    <div className={classes.grids} ref={root} onMouseLeave={() => hover(undefined)}>
      {view.sources.map((source, index) => (
        <section key={source} className={classes.source}>
          <button
            type="button"
            className={classes.sourceName}
            title="Select all of this source"
            onClick={(event) => onSelect(cellsWhere(view, { source: index }), how(event))}
          >
            <ModelBadge identity={identify(source)} named size={16} />
          </button>
          {/* biome-ignore lint/a11y/useSemanticElements: an editable grid with arrow keys, not a table to read */}
          <div
            role="grid"
            aria-label={`Merge weights of ${identify(source).label}`}
            aria-multiselectable="true"
            className={classes.grid}
            style={{ '--columns': view.matrices.length, '--rows': view.layers }}
            onKeyDown={press}
          >
            {/* biome-ignore lint/a11y/useSemanticElements: see above */}
            {/* biome-ignore lint/a11y/useFocusableInteractive: its headers take the focus */}
            <div role="row" className={classes.row}>
              <span className={classes.corner} />
              {view.matrices.map((matrix) => (
                <HeaderCell
                  key={matrix}
                  kind="columnheader"
                  text={matrix}
                  label={`Select ${matrix} in every layer`}
                  onPick={(event) => onSelect(cellsWhere(view, { source: index, matrix }), how(event))}
                />
              ))}
            </div>
            {Array.from({ length: view.layers }, (_, layer) => (
              <GridRow
                // biome-ignore lint/suspicious/noArrayIndexKey: a layer's number is its name
                key={layer}
                source={index}
                layer={layer}
                at={at}
                view={view}
                weights={props.weights}
                scale={props.scale}
                selection={selection}
                overridden={props.overridden}
                current={current}
                hoveredMatrix={hoveredCell?.layer === layer ? hoveredCell.matrix : undefined}
                onHover={hover}
                onPick={pick}
                onDrag={drag}
                onSelectRow={(event) => onSelect(cellsWhere(view, { source: index, layer }), how(event))}
              />
            ))}
          </div>
        </section>
      ))}
    </div>
  );
}

interface Modifiers {
  readonly shiftKey: boolean;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
}

const how = (event: Modifiers): SelectHow =>
  event.ctrlKey || event.metaKey ? 'toggle' : event.shiftKey ? 'add' : 'replace';

type CellAt = ReturnType<typeof indexCells>;

/** The cell that an arrow key leads to; left and right go on into the grid beside. */
function neighbour(view: MergeView, at: CellAt, from: number, key: string): number | undefined {
  const cell = view.cells[from];
  if (!cell) return undefined;
  const column = view.matrices.indexOf(cell.matrix);
  const width = view.matrices.length;
  const moved = (source: number, layer: number, matrix: number) => {
    const index = at(source, layer, view.matrices[matrix] ?? '');
    return index < 0 ? from : index;
  };
  switch (key) {
    case 'ArrowDown':
      return moved(cell.source, Math.min(view.layers - 1, cell.layer + 1), column);
    case 'ArrowUp':
      return moved(cell.source, Math.max(0, cell.layer - 1), column);
    case 'ArrowRight':
      return column + 1 < width
        ? moved(cell.source, cell.layer, column + 1)
        : moved(cell.source + 1, cell.layer, 0);
    case 'ArrowLeft':
      return column > 0
        ? moved(cell.source, cell.layer, column - 1)
        : moved(cell.source - 1, cell.layer, width - 1);
    case 'Home':
      return moved(cell.source, cell.layer, 0);
    case 'End':
      return moved(cell.source, cell.layer, width - 1);
    default:
      return undefined;
  }
}

function HeaderCell({
  kind,
  text,
  label,
  onPick,
}: {
  readonly kind: 'rowheader' | 'columnheader';
  readonly text: string;
  readonly label: string;
  readonly onPick: (event: Modifiers) => void;
}) {
  return (
    <span role={kind} className={classes.header}>
      <button type="button" tabIndex={-1} title={label} aria-label={label} onClick={onPick}>
        {text}
      </button>
    </span>
  );
}

interface RowProps {
  readonly source: number;
  readonly layer: number;
  readonly at: CellAt;
  readonly view: MergeView;
  readonly weights: readonly number[];
  readonly scale: WeightScale;
  readonly selection: ReadonlySet<number>;
  readonly overridden: ReadonlySet<number>;
  readonly current: number;
  readonly hoveredMatrix: string | undefined;
  readonly onHover: (cell: number) => void;
  readonly onPick: (cell: number, event: Modifiers) => void;
  readonly onDrag: (cell: number, event: PointerEvent) => void;
  readonly onSelectRow: (event: Modifiers) => void;
}

function GridRow({ source, layer, at, view, onSelectRow, ...rest }: RowProps) {
  return (
    // biome-ignore lint/a11y/useSemanticElements: see above
    // biome-ignore lint/a11y/useFocusableInteractive: its cells take the focus
    <div role="row" className={classes.row}>
      <HeaderCell kind="rowheader" text={`${layer}`} label={`Select layer ${layer}`} onPick={onSelectRow} />
      {view.matrices.map((matrix) => {
        const index = at(source, layer, matrix);
        const weight = rest.weights[index];
        if (index < 0 || weight === undefined) return <span key={matrix} className={classes.missing} />;
        return (
          <Cell
            key={matrix}
            index={index}
            weight={weight}
            name={`layer ${layer}, ${matrix}`}
            scale={rest.scale}
            isSelected={rest.selection.has(index)}
            isOverridden={rest.overridden.has(index)}
            isCurrent={rest.current === index}
            isHovered={rest.hoveredMatrix === matrix}
            onHover={rest.onHover}
            onPick={rest.onPick}
            onDrag={rest.onDrag}
          />
        );
      })}
    </div>
  );
}

interface CellProps extends Pick<RowProps, 'scale' | 'onHover' | 'onPick' | 'onDrag'> {
  readonly index: number;
  readonly weight: number;
  readonly name: string;
  readonly isSelected: boolean;
  readonly isOverridden: boolean;
  readonly isCurrent: boolean;
  readonly isHovered: boolean;
}

/** Rendered anew only when its own looks change: there can be many hundreds, and a slider moves them. */
const Cell = memo(function Cell({
  index,
  weight,
  name,
  scale,
  isSelected,
  isOverridden,
  isCurrent,
  isHovered,
  ...on
}: CellProps) {
  const { background, deep } = weightColour(weight, scale);
  return (
    // biome-ignore lint/a11y/useSemanticElements: see above
    <span
      role="gridcell"
      tabIndex={isCurrent ? 0 : -1}
      aria-selected={isSelected}
      aria-label={`${name}: ${weight.toFixed(3)}${isOverridden ? ', set by hand' : ''}`}
      data-cell={index}
      data-deep={deep || undefined}
      data-hovered={isHovered || undefined}
      data-overridden={isOverridden || undefined}
      className={classes.cell}
      style={{ background }}
      onPointerEnter={(event) => {
        on.onHover(index);
        on.onDrag(index, event);
      }}
      onPointerDown={(event) => {
        if (event.button === 0) on.onPick(index, event);
      }}
    >
      <span className={classes.value}>{shortWeight(weight)}</span>
    </span>
  );
});

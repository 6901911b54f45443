import { Button, NumberInput, SegmentedControl, Slider } from '@mantine/core';
import { useRef, useState } from 'react';
import { changeWeights, clearSelection, resetCells, select, useMerge } from '../../state/merge.ts';
import { cellsWhere, operateOn, overridden, type WeightOperation } from '../../state/weightEdit.ts';
import { Panel } from '../../views/Panel.tsx';
import classes from './MergeStage.module.css';

interface Range {
  readonly minimum: number;
  readonly maximum: number;
  /** The operand that changes nothing; `set` has none. */
  readonly neutral: number | undefined;
}

const ranges: Readonly<Record<WeightOperation, Range>> = {
  set: { minimum: -0.5, maximum: 1.5, neutral: undefined },
  add: { minimum: -0.5, maximum: 0.5, neutral: 0 },
  multiply: { minimum: 0, maximum: 2, neutral: 1 },
};

/** One editor for whatever is selected; a drag of its slider is one step of undo. */
export function SelectionEditor() {
  const view = useMerge((state) => state.view);
  const weights = useMerge((state) => state.weights);
  const selection = useMerge((state) => state.selection);
  const [operation, setOperation] = useState<WeightOperation>('set');
  const [operand, setOperand] = useState<number>();
  /** The weights before the gesture under way. */
  const base = useRef<readonly number[]>(undefined);
  if (!view) return null;

  const cells = [...selection];
  const values = cells.map((cell) => weights[cell] ?? 0);
  const mean = values.length > 0 ? values.reduce((sum, value) => sum + value, 0) / values.length : 0;
  const uniform = values.every((value) => Math.abs(value - mean) < 5e-5);
  const byHand = overridden(view, weights).filter((cell) => selection.has(cell)).length;
  const { minimum, maximum, neutral } = ranges[operation];
  const shown = operand ?? neutral ?? mean;

  const move = (next: number) => {
    const isNew = base.current === undefined;
    base.current ??= weights;
    setOperand(next);
    changeWeights(operateOn(base.current, selection, operation, next), isNew ? 'new' : 'same');
  };
  const rest = () => {
    base.current = undefined;
    setOperand(undefined);
  };
  const none = selection.size === 0;
  return (
    <Panel
      title="Selection"
      note={none ? 'nothing yet' : `${selection.size} ${selection.size === 1 ? 'weight' : 'weights'}`}
    >
      <div className={classes.editor}>
        <SegmentedControl
          fullWidth
          aria-label="Operation"
          value={operation}
          disabled={none}
          onChange={(value) => {
            rest();
            setOperation(value as WeightOperation);
          }}
          data={[
            { value: 'set', label: 'Set' },
            { value: 'add', label: 'Add' },
            { value: 'multiply', label: 'Multiply' },
          ]}
        />
        <div className={classes.operand}>
          <Slider
            className={classes.slider}
            disabled={none}
            min={minimum}
            max={maximum}
            step={0.01}
            value={shown}
            thumbLabel={`${operation} the selected weights`}
            onChange={move}
            onChangeEnd={rest}
            marks={operation === 'set' ? [{ value: 0 }, { value: 1 }] : [{ value: neutral ?? 0 }]}
          />
          <NumberInput
            id="weight-operand"
            aria-label={`${operation} the selected weights`}
            w={76}
            hideControls
            disabled={none}
            min={-10}
            max={10}
            step={0.01}
            decimalScale={4}
            value={none ? '' : Math.round(shown * 1e4) / 1e4}
            onChange={(next) => typeof next === 'number' && next !== shown && move(next)}
            onBlur={rest}
            onKeyDown={(event) => event.key === 'Enter' && rest()}
          />
        </div>
        <p className={`${classes.hint} num`}>
          {none
            ? 'A weight of 0 leaves a target out, 1 takes all of its change; beyond 0…1 is extrapolation.'
            : uniform
              ? `All are ${mean.toFixed(3)}.`
              : `Mean ${mean.toFixed(3)}, from ${Math.min(...values).toFixed(3)} to ${Math.max(...values).toFixed(3)}.`}
        </p>
        <div className={classes.editorActions}>
          <Button variant="default" disabled={byHand === 0} onClick={() => resetCells(selection)}>
            Reset to computed
          </Button>
          {none ? (
            <Button variant="subtle" onClick={() => select(cellsWhere(view, {}), 'replace', 0)}>
              Select all
            </Button>
          ) : (
            <Button variant="subtle" onClick={clearSelection}>
              Clear
            </Button>
          )}
        </div>
      </div>
    </Panel>
  );
}

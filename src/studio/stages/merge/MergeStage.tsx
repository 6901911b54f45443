import { Button, SegmentedControl } from '@mantine/core';
import { useEffect, useMemo, useRef, useState } from 'react';
import { useIdentity } from '../../app/useIdentity.ts';
import { useChanges, useStageStatuses } from '../../app/useStageStatuses.ts';
import { useDevice } from '../../state/device.ts';
import { inspect, setFocus, showStage, useLayout } from '../../state/layout.ts';
import {
  changeWeights,
  clearSelection,
  loadMerge,
  redo,
  resetCells,
  select,
  setMethod,
  undo,
  useMerge,
} from '../../state/merge.ts';
import { restartRun, startRun, useRun } from '../../state/run.ts';
import { operateOn, overridden } from '../../state/weightEdit.ts';
import { ConflictGrid } from '../../views/ConflictGrid.tsx';
import { Icon } from '../../views/Icon.tsx';
import { Panel } from '../../views/Panel.tsx';
import { type PanelCondition, PanelState } from '../../views/PanelState.tsx';
import { ScaleLegend } from '../../views/ScaleLegend.tsx';
import { WeightGrids } from '../../views/WeightGrids.tsx';
import { weightScale } from '../../views/weightScale.ts';
import { LivePanel } from './LivePanel.tsx';
import classes from './MergeStage.module.css';
import { SelectionEditor } from './SelectionEditor.tsx';
import { WeightFormula } from './WeightFormula.tsx';

/** The merge weights as a picture that can be moved, and what the fused model makes of it at once. */
export function MergeStage() {
  const view = useMerge((state) => state.view);
  const condition = useCondition();
  useUndoKeys();
  return (
    <div className={classes.stage}>
      <PanelState condition={condition}>{view ? <Ready /> : null}</PanelState>
    </div>
  );
}

function useCondition(): PanelCondition {
  const hasView = useMerge((state) => state.view !== undefined);
  const loading = useMerge((state) => state.loading);
  const fault = useMerge((state) => state.fault);
  const deviceKind = useDevice((state) => state.device.kind);
  const runStatus = useRun((state) => state.status);
  const stale = useStageStatuses().merge === 'stale';
  const changes = useChanges();
  if (deviceKind === 'unsupported') {
    return {
      kind: 'unsupported',
      title: 'Nothing here can merge',
      text: 'The weights move a model that lives on a device, and none can be used here.',
    };
  }
  if (fault) {
    const action = { label: 'Try again', run: loadMerge };
    return { kind: 'error', title: 'The merge could not be read', text: fault.message, action };
  }
  if (!hasView && loading) return { kind: 'loading', title: 'Reading the merge…' };
  if (!hasView && (runStatus === 'running' || runStatus === 'paused')) {
    return {
      kind: 'needs-input',
      title: 'The targets are still being trained',
      text: 'The weights appear here as soon as the run has merged them.',
      action: { label: 'Watch the run', run: () => showStage('fuse') },
    };
  }
  if (!hasView) {
    return {
      kind: 'needs-input',
      title: 'Nothing to merge yet',
      text: 'A fusion makes one target a source. Here you see how much of each goes into every matrix, and move it while the fused model answers.',
      action: {
        label: 'Run the sample',
        run: () => {
          startRun();
          showStage('fuse');
        },
      },
    };
  }
  if (stale) {
    return {
      kind: 'stale',
      text: `These weights come from an earlier recipe (${changes.length} ${changes.length === 1 ? 'change' : 'changes'} since).`,
      action: { label: 'Run again', run: restartRun },
    };
  }
  return { kind: 'ready' };
}

/** Ctrl+Z and Ctrl+Shift+Z, also while a grid has the focus. */
function useUndoKeys(): void {
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (event.key.toLowerCase() !== 'z' || !(event.ctrlKey || event.metaKey)) return;
      if (event.target instanceof HTMLElement && event.target.closest('input, textarea')) return;
      event.preventDefault();
      if (event.shiftKey) redo();
      else undo();
    };
    window.addEventListener('keydown', press);
    return () => window.removeEventListener('keydown', press);
  }, []);
}

function Ready() {
  const [tab, setTab] = useState<'weights' | 'conflicts'>('weights');
  const view = useMerge((state) => state.view);
  const loading = useMerge((state) => state.loading);
  const canUndo = useMerge((state) => state.past.length > 0);
  const canRedo = useMerge((state) => state.future.length > 0);
  const byHand = useMerge((state) => (state.view ? overridden(state.view, state.weights).length : 0));
  if (!view) return null;
  return (
    <>
      <div className={classes.top}>
        <SegmentedControl
          aria-label="Show"
          value={tab}
          onChange={(value) => setTab(value === 'conflicts' ? 'conflicts' : 'weights')}
          data={[
            { value: 'weights', label: 'Weights' },
            { value: 'conflicts', label: 'Conflicts' },
          ]}
        />
        <div className={classes.method}>
          <span id="method">Computed by</span>
          <SegmentedControl
            aria-labelledby="method"
            value={view.method}
            disabled={loading}
            onChange={(value) => setMethod(value === 'linear' ? 'linear' : 'sce')}
            data={[
              { value: 'sce', label: 'SCE' },
              { value: 'linear', label: 'Linear' },
            ]}
          />
        </div>
        <span className={classes.space} />
        <Button variant="default" px={8} aria-label="Undo" disabled={!canUndo} onClick={undo}>
          <Icon name="undo" size={14} />
        </Button>
        <Button variant="default" px={8} aria-label="Redo" disabled={!canRedo} onClick={redo}>
          <Icon name="redo" size={14} />
        </Button>
        <Button variant="default" disabled={byHand === 0} onClick={() => resetCells()}>
          Reset all{byHand > 0 ? ` (${byHand})` : ''}
        </Button>
      </div>
      {tab === 'weights' ? <Weights /> : <Conflicts />}
      <div className={classes.lower}>
        {tab === 'weights' ? <SelectionEditor /> : null}
        <LivePanel />
      </div>
    </>
  );
}

function Weights() {
  const view = useMerge((state) => state.view);
  const weights = useMerge((state) => state.weights);
  const selection = useMerge((state) => state.selection);
  const anchor = useMerge((state) => state.anchor);
  const identify = useIdentity('merged');
  const [hovered, setHovered] = useState<number>();
  const scale = useMemo(() => weightScale(weights), [weights]);
  const hand = useMemo(() => new Set(view ? overridden(view, weights) : []), [view, weights]);
  const panel = useRef<HTMLDivElement>(null);
  if (!view) return null;
  const focusCell = (index: number, raise: boolean) => {
    const cell = view.cells[index];
    if (!cell) return;
    const focus = { kind: 'cell', layer: cell.layer, matrix: cell.matrix, source: cell.source } as const;
    if (raise) inspect(focus);
    else setFocus(focus);
  };
  return (
    <Panel
      title="Merge weights"
      note="how much of each target goes into each matrix"
      tools={<ScaleLegend scale={scale} label="weight" />}
    >
      <div className={classes.grids} ref={panel}>
        <WeightGrids
          view={view}
          weights={weights}
          scale={scale}
          selection={selection}
          anchor={anchor}
          overridden={hand}
          identify={identify}
          onHover={setHovered}
          onFocusCell={(index) => focusCell(index, false)}
          onSelect={select}
          onClear={clearSelection}
          onNudge={(by) => changeWeights(operateOn(weights, selection, 'add', by))}
          onEdit={() => document.getElementById('weight-operand')?.focus()}
        />
      </div>
      <WeightFormula hovered={hovered} />
    </Panel>
  );
}

function Conflicts() {
  const view = useMerge((state) => state.view);
  const focus = useLayout((state) => state.focus);
  if (!view) return null;
  return (
    <Panel
      title="Conflicts"
      note="share of all change where the targets disagree in sign"
      tools={<ScaleLegend scale={{ low: 0, high: 1 }} label="share" />}
    >
      <ConflictGrid
        view={view}
        chosen={focus?.kind === 'conflict' ? focus : undefined}
        onChoose={(layer, matrix) => inspect({ kind: 'conflict', layer, matrix })}
      />
      <p className={classes.explain}>
        Where two targets move a value in opposite directions, merging makes them cancel. A high share says
        that this matrix cannot follow all sources at once.
      </p>
    </Panel>
  );
}

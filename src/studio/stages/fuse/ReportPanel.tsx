import { SegmentedControl } from '@mantine/core';
import { useMemo, useState } from 'react';
import { formatBytes } from '../../../util/bytes.ts';
import { useReportIdentity } from '../../app/useReportIdentity.ts';
import { useChanges } from '../../app/useStageStatuses.ts';
import { useLayout } from '../../state/layout.ts';
import { isActive, restartRun, useRun } from '../../state/run.ts';
import { changesResults } from '../../state/stageStatus.ts';
import { formatSeconds } from '../../views/format.ts';
import { Icon } from '../../views/Icon.tsx';
import { Panel } from '../../views/Panel.tsx';
import { PanelState } from '../../views/PanelState.tsx';
import { ReportGrid } from '../../views/ReportGrid.tsx';
import { baselineKey, reportTable, verdictOf, verdictSentence } from '../../views/reportTable.ts';
import classes from './FuseStage.module.css';

/** What the run came to, on conversations that nobody learned from; losses first. */
export function ReportPanel() {
  const report = useRun((state) => state.report);
  const status = useRun((state) => state.status);
  const pinned = useLayout((state) => state.baseline);
  const changes = useChanges();
  const identify = useReportIdentity();
  const [metric, setMetric] = useState<'nll' | 'accuracy'>('nll');
  const baseline = report ? baselineKey(report.suites, pinned) : undefined;
  const table = useMemo(
    () => (report ? reportTable(report.suites, baseline) : undefined),
    [report, baseline],
  );
  if (!report || !table) {
    return (
      <PanelState
        condition={{
          kind: 'empty',
          title: 'No report yet',
          text: 'A finished run compares the pivot, the sources, SFT-only, every target and the fused model on held-out conversations.',
        }}
      />
    );
  }
  const verdict = verdictOf(report.suites);
  const won = verdict !== undefined && verdict.better.length > 0;
  const lost = verdict !== undefined && verdict.worse.length + verdict.behindControl.length > 0;
  return (
    <PanelState
      condition={
        changesResults(changes.map(({ path }) => path)) && !isActive(status)
          ? {
              kind: 'stale',
              text: 'The settings have changed since; these numbers belong to the earlier recipe.',
              action: { label: 'Run again', run: restartRun },
            }
          : { kind: 'ready' }
      }
    >
      {verdict ? (
        <p className={classes.verdict} data-lost={lost || undefined} data-open={(!lost && !won) || undefined}>
          <span className={classes.mark}>
            <Icon name={lost ? 'warning' : won ? 'check' : 'info'} />
          </span>
          {verdictSentence(verdict)}
        </p>
      ) : null}
      <Panel
        flush
        title="Held-out conversations"
        note={
          metric === 'nll'
            ? 'nats per byte, lower is better; bars: bootstrap interval'
            : 'share of right answers'
        }
        tools={
          table.hasAccuracy ? (
            <SegmentedControl
              aria-label="Measure"
              value={metric}
              onChange={(value) => setMetric(value === 'accuracy' ? 'accuracy' : 'nll')}
              data={[
                { value: 'nll', label: 'Nats per byte' },
                { value: 'accuracy', label: 'Right answers' },
              ]}
            />
          ) : null
        }
      >
        <ReportGrid table={table} metric={metric} baseline={baseline} identify={identify} />
      </Panel>
      <p className={`${classes.colophon} num`}>
        {metric === 'nll'
          ? `Each suite has a scale of its own; the line is the baseline, an arrow a value beyond the scale. `
          : ''}
        {`${formatSeconds(report.seconds)} on ${report.device}, peak memory ${formatBytes(report.peakBytes)}, seed ${report.recipe.seed}${report.reused ? `; ${report.reused} steps came from earlier runs` : ''}.`}
      </p>
    </PanelState>
  );
}

import { SegmentedControl } from '@mantine/core';
import { useEffect, useState } from 'react';
import type { MemoryForecast } from '../../../pipeline/protocol.ts';
import { useDevice } from '../../state/device.ts';
import type { Fault } from '../../state/fault.ts';
import { useMemoryPlan } from '../../state/memoryPlan.ts';
import { startRun, useRun } from '../../state/run.ts';
import { PanelState } from '../../views/PanelState.tsx';
import { CurvesPanel } from './CurvesPanel.tsx';
import classes from './FuseStage.module.css';
import { MemoryPanel } from './MemoryPanel.tsx';
import { ReportPanel } from './ReportPanel.tsx';
import { RunBar } from './RunBar.tsx';
import { SettingsPanel } from './SettingsPanel.tsx';
import { StageProgressList } from './StageProgressList.tsx';

type Tab = 'run' | 'report';

/** One run: its settings, its curves, its report. */
export function FuseStage() {
  const hasReport = useRun((state) => state.report !== undefined);
  const fault = useRun(({ status, fault: last }) =>
    status === 'failed' && last?.code !== 'device-lost' ? last : undefined,
  );
  const forecast = useMemoryPlan((state) => state.forecast);
  const unsupported = useDevice((state) => state.device.kind === 'unsupported');
  const [tab, setTab] = useState<Tab>(hasReport ? 'report' : 'run');
  // The report shows itself when it comes, and a new run brings the curves back.
  useEffect(() => setTab(hasReport ? 'report' : 'run'), [hasReport]);

  return (
    <div className={classes.stage}>
      <div className={classes.top}>
        <RunBar />
        <SegmentedControl
          aria-label="Show"
          value={tab}
          onChange={(value) => setTab(value === 'report' ? 'report' : 'run')}
          data={[
            { value: 'run', label: 'Curves' },
            { value: 'report', label: 'Report' },
          ]}
        />
      </div>
      <StageProgressList />
      <MemoryPanel />
      {fault ? (
        <PanelState
          condition={{
            kind: 'error',
            title: 'The fusion stopped',
            text: `${whatToDo(fault, forecast)} Finished parts are kept.`,
            ...(fault.detail === undefined ? {} : { detail: fault.detail }),
            action: { label: 'Try again', run: startRun },
          }}
        />
      ) : null}
      {tab === 'report' ? (
        <ReportPanel />
      ) : (
        <div className={classes.columns}>
          <SettingsPanel />
          {unsupported ? (
            <PanelState
              condition={{
                kind: 'unsupported',
                title: 'Nothing here can train',
                text: 'The settings can be looked at and changed; a run can start once a device works here.',
              }}
            />
          ) : (
            <CurvesPanel />
          )}
        </div>
      )}
    </div>
  );
}

/** Too little memory is helped by the panel above; the engine's own sentence names fields of a recipe file. */
function whatToDo({ code, message }: Fault, forecast: MemoryForecast | undefined): string {
  const what = message.replace(/;.*$/su, '');
  if (code !== 'out-of-memory' || !forecast) return message;
  if (forecast.smaller?.fits) return `${what}; press “Make it fit” above, then try again.`;
  if (forecast.fits && forecast.suggestions.length > 0)
    return `${what}; take a change from “Make it smaller” above, then try again.`;
  return message;
}

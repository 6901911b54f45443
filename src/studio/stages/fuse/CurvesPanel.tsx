import { Slider, Switch } from '@mantine/core';
import { useMemo, useState, useSyncExternalStore } from 'react';
import { useIdentity } from '../../app/useIdentity.ts';
import { type LossPart, lossPulse, lossSeries } from '../../state/losses.ts';
import { useProject } from '../../state/project.ts';
import { isActive, useRun } from '../../state/run.ts';
import { LossChart } from '../../views/LossChart.tsx';
import { brokenSteps, smoothed, valueAt } from '../../views/lossCurves.ts';
import { ModelBadge } from '../../views/ModelBadge.tsx';
import { Panel } from '../../views/Panel.tsx';
import { PanelState } from '../../views/PanelState.tsx';
import classes from './FuseStage.module.css';

const charts: readonly { readonly part: LossPart; readonly title: string; readonly height: number }[] = [
  { part: 'total', title: 'Total', height: 178 },
  { part: 'supervised', title: 'From the answers', height: 128 },
  { part: 'distillation', title: 'From the source', height: 128 },
];

/** The loss of every target while it trains. */
export function CurvesPanel() {
  const targets = useRun((state) => state.targets);
  const planned = useRun(({ tasks }) =>
    Math.max(0, ...tasks.map((task) => (task.stage === 'distil' ? task.total : 0))),
  );
  const identify = useIdentity('ran');
  const [beta, setBeta] = useState(0.8);
  const [logarithmic, setLogarithmic] = useState(false);
  const [step, setStep] = useState<number>();
  const looks = useMemo(
    () =>
      targets.map((name) => ({
        name,
        // A curve is a target's, but it is drawn as one would look for it: in the source's full colour.
        identity: identify(name),
      })),
    [targets, identify],
  );
  const [main, ...parts] = charts;
  const chart = ({ part, title, height }: (typeof charts)[number]) => {
    const shown = part === 'distillation' ? looks.filter(({ name }) => name !== 'sft') : looks;
    if (shown.length === 0) return <Awaited key={part} title={title} height={height} />;
    return (
      <LossChart
        key={part}
        part={part}
        title={part === 'total' && step !== undefined ? `${title} at step ${Math.round(step)}` : title}
        targets={shown}
        beta={beta}
        logarithmic={logarithmic}
        height={height}
        planned={planned}
        onStep={setStep}
      />
    );
  };
  return (
    <Panel
      title="Loss"
      note="nats per token, by step"
      tools={
        <>
          <span className={classes.smoothing}>
            <span id="smoothing">Smoothing</span>
            <Slider
              w={84}
              min={0}
              max={0.98}
              step={0.02}
              value={beta}
              onChange={setBeta}
              thumbLabel="Smoothing"
            />
          </span>
          <Switch
            label="Log scale"
            checked={logarithmic}
            onChange={(event) => setLogarithmic(event.currentTarget.checked)}
          />
        </>
      }
    >
      {targets.length === 0 ? (
        <NoCurves />
      ) : (
        <div className={classes.charts}>
          <Legend looks={looks} step={step} beta={beta} />
          {main ? chart(main) : null}
          <div className={classes.parts}>{parts.map(chart)}</div>
          <Broken />
        </div>
      )}
    </Panel>
  );
}

/** In the place of a chart whose first curve is yet to come. */
function Awaited({ title, height }: { readonly title: string; readonly height: number }) {
  return (
    <figure className={classes.awaited}>
      <figcaption>{title}</figcaption>
      <p style={{ height }}>Begins with the first source’s target.</p>
    </figure>
  );
}

function NoCurves() {
  const status = useRun((state) => state.status);
  const sources = useProject((state) => state.recipe?.sources.length ?? 0);
  if (isActive(status)) {
    return (
      <PanelState
        condition={{ kind: 'loading', title: 'The first curve starts when the rows are read and aligned.' }}
      />
    );
  }
  if (status === 'done') {
    return (
      <PanelState
        condition={{
          kind: 'empty',
          title: 'No curves this time',
          text: 'Everything was trained in an earlier run, which drew the curves then. The report has what it came to.',
        }}
      />
    );
  }
  return (
    <PanelState
      condition={{
        kind: 'empty',
        title: 'Loss curves, live',
        text: `A run draws ${sources + 1} curves here: one for each source’s target and one for the pivot tuned on the same answers without any source.`,
      }}
    />
  );
}

/** The curves' names with the smoothed values under the crosshair, or the last ones. */
function Legend({
  looks,
  step,
  beta,
}: {
  readonly looks: readonly {
    readonly name: string;
    readonly identity: ReturnType<ReturnType<typeof useIdentity>>;
  }[];
  readonly step: number | undefined;
  readonly beta: number;
}) {
  useSyncExternalStore(lossPulse.subscribe, lossPulse.version);
  const series = lossSeries();
  return (
    <ul className={classes.legend}>
      {looks.map(({ name, identity }) => {
        const own = series.find((other) => other.target === name);
        const value = own && valueAt({ ...own, total: smoothed(own.total, own.length, beta) }, 'total', step);
        return (
          <li key={name}>
            <ModelBadge identity={identity} named size={14} />
            <span className="num">{value === undefined ? '–' : value.toFixed(3)}</span>
          </li>
        );
      })}
    </ul>
  );
}

function Broken() {
  useSyncExternalStore(lossPulse.subscribe, lossPulse.version);
  const broken = brokenSteps(lossSeries());
  if (broken === 0) return null;
  return (
    <p className={classes.broken} role="alert">
      {broken} {broken === 1 ? 'step has' : 'steps have'} a loss that is not a number; lower the learning rate
      and restart.
    </p>
  );
}

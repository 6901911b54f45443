import { useComputedColorScheme } from '@mantine/core';
import { useElementSize } from '@mantine/hooks';
import { useEffect, useRef } from 'react';
import uPlot from 'uplot';
import type { Identity } from '../state/identity.ts';
import { type LossPart, lossPulse, lossSeries } from '../state/losses.ts';
import classes from './LossChart.module.css';
import { type CurveTable, curveTable, lastStepOf } from './lossCurves.ts';

/**
 * Live curves of one part of the loss, on a canvas that redraws at most once a frame and never through React.
 * The charts of a run share their crosshair.
 */
export function LossChart({
  part,
  title,
  targets,
  beta,
  logarithmic,
  height,
  planned,
  onStep,
}: {
  readonly part: LossPart;
  readonly title: string;
  /** The series' names in the order of their columns, with how they look. */
  readonly targets: readonly { readonly name: string; readonly identity: Identity }[];
  /** Smoothing, 0 (none) to just under 1. */
  readonly beta: number;
  readonly logarithmic: boolean;
  readonly height: number;
  /** Steps that the run will have, so that the axis does not grow with the curve; 0 while nobody knows. */
  readonly planned: number;
  /** The step under the crosshair. */
  readonly onStep: (step: number | undefined) => void;
}) {
  const scheme = useComputedColorScheme('light');
  const { ref: frame, width } = useElementSize();
  const host = useRef<HTMLDivElement>(null);
  const look = targets.map(({ name, identity }) => `${name} ${identity.tone}`).join('|');

  // biome-ignore lint/correctness/useExhaustiveDependencies: the chart is made anew when its looks change; `look` stands for `targets`
  useEffect(() => {
    const element = host.current;
    if (!element || width < 40) return;
    const names = targets.map(({ name }) => name);
    const read = () => toData(curveTable(ordered(names), part, beta));
    const chart = new uPlot(
      options(element, targets, { width, height, logarithmic, planned, onStep }),
      read(),
      element,
    );
    const leave = lossPulse.subscribe(() => chart.setData(read()));
    return () => {
      leave();
      chart.destroy();
    };
  }, [look, part, beta, logarithmic, width, height, planned, scheme]);

  return (
    <figure className={classes.figure} ref={frame}>
      <figcaption className={classes.title}>{title}</figcaption>
      <div ref={host} style={{ height }} />
    </figure>
  );
}

const ordered = (names: readonly string[]) => {
  const all = lossSeries();
  return names.flatMap((name) => all.find((own) => own.target === name) ?? []);
};

const toData = ({ x, raw, smooth }: CurveTable): uPlot.AlignedData =>
  [x, ...raw, ...smooth] as unknown as uPlot.AlignedData;

interface Looks {
  readonly width: number;
  readonly height: number;
  readonly logarithmic: boolean;
  readonly planned: number;
  readonly onStep: (step: number | undefined) => void;
}

function options(
  element: HTMLElement,
  targets: readonly { readonly name: string; readonly identity: Identity }[],
  { width, height, logarithmic, planned, onStep }: Looks,
): uPlot.Options {
  const style = getComputedStyle(element);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  const font = `11px ${style.fontFamily}`;
  const axis = {
    stroke: colour('--ink-3'),
    font,
    grid: { stroke: colour('--line'), width: 1 },
    ticks: { show: false },
  };
  const tones = targets.map(({ identity }) => colour(`--tone-${identity.tone}`));
  return {
    width,
    height,
    padding: [6, 14, 0, 0],
    legend: { show: false },
    cursor: {
      sync: { key: 'loss' },
      y: false,
      points: { size: 5 },
      drag: { x: true, y: false },
    },
    scales: {
      x: { time: false, range: (chart, low, high) => shownSteps(chart.data[0], low, high, planned) },
      y: logarithmic ? { distr: 3 } : {},
    },
    axes: [
      { ...axis, size: 22, gap: 4, space: 60 },
      { ...axis, size: 38, gap: 4, space: 28 },
    ],
    series: [
      {},
      ...tones.map((stroke) => ({ stroke, alpha: 0.22, width: 1, points: { show: false } })),
      ...tones.map((stroke) => ({ stroke, width: 1.75, points: { show: false } })),
    ],
    hooks: {
      setCursor: [
        (chart) => {
          const { idx } = chart.cursor;
          onStep(idx === null || idx === undefined ? undefined : chart.data[0][idx]);
        },
      ],
    },
  };
}

/** The whole run, unless a person has zoomed into a part of it: then the bounds are not those of the data. */
function shownSteps(steps: ArrayLike<number>, low: number, high: number, planned: number): [number, number] {
  const whole = low <= (steps[0] ?? low) && high >= (steps[steps.length - 1] ?? high);
  return whole ? [0, Math.max(planned, lastStepOf(lossSeries()), 1)] : [low, high];
}

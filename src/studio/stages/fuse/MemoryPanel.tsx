import { Button, Collapse, Tooltip } from '@mantine/core';
import { useEffect, useId, useState } from 'react';
import type { MemoryForecast } from '../../../pipeline/protocol.ts';
import { formatBytes } from '../../../util/bytes.ts';
import { applySteps, useMemoryPlan, watchMemoryPlan } from '../../state/memoryPlan.ts';
import { editRecipe, useProject } from '../../state/project.ts';
import { Icon } from '../../views/Icon.tsx';
import { barScale, memoryParts, phaseWords } from '../../views/memoryParts.ts';
import { NumberField } from '../../views/NumberField.tsx';
import classes from './MemoryPanel.module.css';
import { settingName, showValue } from './settings.ts';

const GIGABYTE = 1e9;

/** What the run will take on the device, against what it may take, and what makes it smaller. */
export function MemoryPanel() {
  const { forecast, fault, planning } = useMemoryPlan();
  const limit = useProject((state) => state.recipe?.memory.limit);
  const [open, setOpen] = useState(false);
  const [id, listId] = [useId(), useId()];
  useEffect(watchMemoryPlan, []);
  const shown = open || (forecast !== undefined && !forecast.fits);
  return (
    <section className={classes.panel} aria-label="Memory" aria-busy={planning}>
      <div className={classes.head}>
        <h2 className={classes.title}>Memory</h2>
        <p className={classes.sum} aria-live="polite">
          {forecast ? (
            <Sum forecast={forecast} />
          ) : fault ? (
            <span className={classes.bad}>{fault.message}</span>
          ) : (
            'Planning …'
          )}
        </p>
        <label className={classes.limit} htmlFor={id}>
          <Tooltip label="No page can ask how much memory is free; this is what you allow." w={240}>
            <span>Limit</span>
          </Tooltip>
          <NumberField
            id={id}
            label="Memory at most, in gigabytes"
            value={limit === undefined ? undefined : limit / GIGABYTE}
            width={64}
            minimum={0.01}
            maximum={1000}
            step={0.5}
            whole={false}
            placeholder="any"
            onChange={(next) => editRecipe('memory.limit', Math.round(next * GIGABYTE))}
            onClear={() => editRecipe('memory.limit', undefined)}
          />
          <span>GB</span>
        </label>
        {forecast && !forecast.fits ? null : (
          <Button
            size="compact-xs"
            variant="subtle"
            disabled={!forecast || forecast.suggestions.length === 0}
            aria-expanded={shown}
            aria-controls={listId}
            onClick={() => setOpen(!shown)}
          >
            Make it smaller
          </Button>
        )}
      </div>
      {forecast ? <Bar forecast={forecast} /> : null}
      <Collapse expanded={shown && forecast !== undefined} id={listId}>
        {forecast ? <Suggestions forecast={forecast} /> : null}
      </Collapse>
    </section>
  );
}

function Sum({
  forecast: { peak, limitBytes, fits, problem, chosen },
}: {
  readonly forecast: MemoryForecast;
}) {
  if (problem !== undefined)
    return <span className={classes.bad}>This adapter cannot run it: {problem}</span>;
  const by =
    chosen.length === 0
      ? ''
      : `; ${chosen.map(({ path, value }) => `${settingName(path)}: ${showValue(value, path)}`).join(', ')}, chosen for it`;
  return (
    <>
      <strong className="num">{formatBytes(peak.bytes)}</strong> at its peak, {phaseWords(peak.phase)}
      {by}
      {limitBytes === undefined || fits ? null : (
        <>
          {', '}
          <span className={classes.over}>
            <Icon name="warning" size={12} /> {formatBytes(peak.bytes - limitBytes)} over the limit
          </span>
        </>
      )}
    </>
  );
}

function Bar({ forecast: { peak, limitBytes, fits } }: { readonly forecast: MemoryForecast }) {
  const parts = memoryParts(peak.parts);
  const scale = barScale(peak.bytes, limitBytes);
  return (
    <>
      <div className={classes.track} aria-hidden="true">
        <div className={classes.used} style={{ width: `${100 * scale.used}%` }}>
          {parts.map(({ name, bytes, fill }) => (
            <span
              key={name}
              title={`${name}: ${formatBytes(bytes)}`}
              style={{ flexGrow: bytes, background: fill }}
            />
          ))}
        </div>
        {scale.limit === undefined || fits ? null : (
          <span className={classes.mark} style={{ left: `${100 * scale.limit}%` }} />
        )}
      </div>
      <ul className={classes.legend}>
        {parts.map(({ name, bytes, fill, title }) => (
          <li key={name} title={title}>
            <span className={classes.swatch} style={{ background: fill }} aria-hidden="true" />
            {name} <span className="num">{formatBytes(bytes)}</span>
          </li>
        ))}
      </ul>
    </>
  );
}

function Suggestions({
  forecast: { suggestions, smaller, limitBytes },
}: {
  readonly forecast: MemoryForecast;
}) {
  return (
    <>
      {smaller && limitBytes !== undefined ? (
        <div className={classes.fit}>
          <span>
            {smaller.fits
              ? `It fits in ${formatBytes(smaller.bytes)} with ${smaller.steps.map(({ path, value }) => `${settingName(path)}: ${showValue(value, path)}`).join('; ')}.`
              : `Even with every change it takes ${formatBytes(smaller.bytes)}, ${formatBytes(smaller.bytes - limitBytes)} over the limit; choose smaller models or raise the limit.`}
          </span>
          {smaller.fits ? (
            <Button size="compact-sm" onClick={() => applySteps(smaller.steps)}>
              Make it fit
            </Button>
          ) : null}
        </div>
      ) : null}
      <ul className={classes.suggestions}>
        {suggestions.map((step) => (
          <li key={`${step.path} ${String(step.value)}`}>
            <Button size="compact-xs" variant="default" onClick={() => applySteps([step])}>
              {settingName(step.path)}: {showValue(step.value, step.path)}
            </Button>
            <span className={classes.saves}>
              <span className="num">−{formatBytes(step.savesBytes)}</span>
            </span>
            <span className={classes.what}>{step.what}</span>
          </li>
        ))}
      </ul>
    </>
  );
}

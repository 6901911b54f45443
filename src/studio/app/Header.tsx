import { ActionIcon, Select, Tooltip, useMantineColorScheme } from '@mantine/core';
import { setBaseline, setSheet, toggleInspector, useLayout } from '../state/layout.ts';
import { useProject } from '../state/project.ts';
import { useRun } from '../state/run.ts';
import { Icon } from '../views/Icon.tsx';
import { baselineKey, rowKey } from '../views/reportTable.ts';
import classes from './Header.module.css';
import { HelpButton } from './HelpButton.tsx';
import { useReportIdentity } from './useReportIdentity.ts';

export function Header() {
  const name = useProject((state) => state.recipe?.name);
  return (
    <header className={classes.header}>
      <span className={classes.brand}>
        <Mark />
        Alloy
      </span>
      {name ? <span className={classes.project}>{name}</span> : null}
      <span className={classes.space} />
      <BaselineSelect />
      <HelpButton />
      <SchemeButton />
      <InspectorButton />
    </header>
  );
}

/** Three rings that share a middle. */
function Mark() {
  return (
    <svg width="20" height="20" viewBox="0 0 20 20" fill="none" strokeWidth="1.7" aria-hidden="true">
      <circle cx="7.2" cy="7.4" r="4.6" stroke="var(--tone-pivot)" />
      <circle cx="12.8" cy="7.4" r="4.6" stroke="var(--tone-a)" />
      <circle cx="10" cy="12.4" r="4.6" stroke="var(--tone-fused)" />
    </svg>
  );
}

/** Only there once a report has numbers to compare. */
function BaselineSelect() {
  const baseline = useLayout((state) => state.baseline);
  const report = useRun((state) => state.report);
  const identify = useReportIdentity();
  if (!report) return null;
  const keys = new Map(report.suites.flatMap(({ rows }) => rows.map((row) => [rowKey(row), row])));
  const data = [...keys].map(([value, row]) => ({ value, label: identify(row).label }));
  return (
    <div className={classes.baseline}>
      <label htmlFor="baseline">Baseline</label>
      <Select
        id="baseline"
        data={data}
        value={baselineKey(report.suites, baseline) ?? null}
        placeholder="none"
        onChange={(value) => value && setBaseline(value)}
        w={150}
        comboboxProps={{ width: 220, position: 'bottom-end' }}
      />
    </div>
  );
}

const schemes = { auto: 'light', light: 'dark', dark: 'auto' } as const;
const schemeIcons = { auto: 'auto', light: 'sun', dark: 'moon' } as const;
const schemeWords = { auto: 'as the system', light: 'light', dark: 'dark' } as const;

function SchemeButton() {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const label = `Colours: ${schemeWords[colorScheme]}; change to ${schemeWords[schemes[colorScheme]]}`;
  return (
    <Tooltip label={label}>
      <ActionIcon aria-label={label} onClick={() => setColorScheme(schemes[colorScheme])}>
        <Icon name={schemeIcons[colorScheme]} />
      </ActionIcon>
    </Tooltip>
  );
}

function InspectorButton() {
  const open = useLayout((state) => state.inspectorOpen);
  return (
    <>
      <Tooltip label={open ? 'Fold the inspector' : 'Open the inspector'}>
        <ActionIcon
          className={classes.wide}
          aria-label="Inspector"
          aria-expanded={open}
          onClick={toggleInspector}
        >
          <Icon name="panel" />
        </ActionIcon>
      </Tooltip>
      <ActionIcon className={classes.narrow} aria-label="Inspector" onClick={() => setSheet(true)}>
        <Icon name="panel" />
      </ActionIcon>
    </>
  );
}

import { ActionIcon, Button, SegmentedControl, Slider, Tooltip } from '@mantine/core';
import { useId } from 'react';
import { editRecipe, resetValues, useProject } from '../../state/project.ts';
import { recipeChanges, recipeValue } from '../../state/recipeChanges.ts';
import { useRun } from '../../state/run.ts';
import { Icon } from '../../views/Icon.tsx';
import { NumberField } from '../../views/NumberField.tsx';
import { Panel } from '../../views/Panel.tsx';
import classes from './FuseStage.module.css';
import { type Setting, settingGroups, showValue } from './settings.ts';

/** The recipe's numbers that a person may move, each with a way back. */
export function SettingsPanel() {
  const recipe = useProject((state) => state.recipe);
  const defaults = useProject((state) => state.defaults);
  if (!recipe || !defaults) return null;
  const paths = new Set(settingGroups.flatMap(({ settings }) => settings.map((setting) => setting.path)));
  const changed = recipeChanges(defaults, recipe).filter((change) => paths.has(change.path)).length;
  return (
    <Panel
      title="Settings"
      tools={
        changed > 0 ? (
          <Button size="compact-xs" variant="subtle" onClick={() => resetValues(paths)}>
            Reset all
          </Button>
        ) : null
      }
    >
      {settingGroups.map(({ title, settings }) => (
        <fieldset key={title} className={classes.group}>
          <legend>{title}</legend>
          {settings.map((setting) => (
            <Field key={setting.path} setting={setting} />
          ))}
        </fieldset>
      ))}
    </Panel>
  );
}

function Field({ setting }: { readonly setting: Setting }) {
  const { path, label, help } = setting;
  const id = useId();
  const value = useProject((state) => (state.recipe ? recipeValue(state.recipe, path) : undefined));
  const byDefault = useProject((state) => (state.defaults ? recipeValue(state.defaults, path) : undefined));
  const ran = useRun((state) => (state.recipe ? recipeValue(state.recipe, path) : undefined));
  const hasRun = useRun((state) => state.recipe !== undefined);
  const differs = hasRun && ran !== value;
  return (
    <div className={classes.field} data-kind={setting.kind}>
      <div className={classes.fieldHead}>
        <Tooltip label={help} w={240} position="right">
          <label htmlFor={id} id={`${id}-label`}>
            {label}
          </label>
        </Tooltip>
        {differs ? (
          <Tooltip label={`The run used ${showValue(ran, setting.path)}`}>
            <span
              className={classes.differs}
              role="img"
              aria-label={`changed; the run used ${showValue(ran, setting.path)}`}
            />
          </Tooltip>
        ) : null}
        {value !== byDefault ? (
          <Tooltip label={`Back to ${showValue(byDefault, setting.path)}`}>
            <ActionIcon size={18} aria-label={`Reset ${label}`} onClick={() => editRecipe(path, byDefault)}>
              <Icon name="reset" size={12} />
            </ActionIcon>
          </Tooltip>
        ) : null}
      </div>
      <Control setting={setting} id={id} value={value} />
    </div>
  );
}

function Control({
  setting,
  id,
  value,
}: {
  readonly setting: Setting;
  readonly id: string;
  readonly value: unknown;
}) {
  const { path } = setting;
  switch (setting.kind) {
    case 'slider': {
      const { minimum, maximum, step } = setting;
      const number = typeof value === 'number' ? value : minimum;
      return (
        <div className={classes.sliderRow}>
          <Slider
            className={classes.slider}
            min={minimum}
            max={maximum}
            step={step}
            value={number}
            onChange={(next) => editRecipe(path, Math.round(next * 1e4) / 1e4)}
            thumbLabel={setting.label}
          />
          <NumberField
            id={id}
            value={number}
            width={58}
            minimum={minimum}
            maximum={maximum}
            step={step}
            whole={false}
            onChange={(next) => editRecipe(path, next)}
          />
        </div>
      );
    }
    case 'number': {
      const { minimum, maximum, step, whole, empty } = setting;
      return (
        <NumberField
          id={id}
          value={typeof value === 'number' ? value : undefined}
          minimum={minimum}
          maximum={maximum}
          step={step}
          whole={whole}
          placeholder={empty ?? ''}
          onChange={(next) => editRecipe(path, next)}
          {...(empty === undefined ? {} : { onClear: () => editRecipe(path, undefined) })}
        />
      );
    }
    case 'choice':
      return (
        <SegmentedControl
          id={id}
          fullWidth
          aria-labelledby={`${id}-label`}
          value={String(value)}
          data={[...setting.options]}
          onChange={(next) => editRecipe(path, next)}
        />
      );
  }
}

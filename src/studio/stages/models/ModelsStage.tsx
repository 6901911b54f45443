import { Button } from '@mantine/core';
import { formatBytes } from '../../../util/bytes.ts';
import { useIdentity } from '../../app/useIdentity.ts';
import { selectReady, useDevice } from '../../state/device.ts';
import { inspect, showStage } from '../../state/layout.ts';
import { assign, useProject } from '../../state/project.ts';
import { isActive, startRun, useRun } from '../../state/run.ts';
import { FusionDiagram } from '../../views/FusionDiagram.tsx';
import { Icon } from '../../views/Icon.tsx';
import { HUB_FIELD, HubPanel } from './HubPanel.tsx';
import { ModelPanel } from './ModelPanel.tsx';
import classes from './ModelsStage.module.css';
import { ShelfPanel } from './ShelfPanel.tsx';

/** Which models there are, what each knows, and which part it has. */
export function ModelsStage() {
  const { models, recipe } = useProject();
  const identify = useIdentity();
  if (!recipe) return null;
  const domains = [...new Set(models.flatMap((model) => Object.keys(model.scores)))];
  const part = (name: string) =>
    name === recipe.pivot ? 'pivot' : recipe.sources.includes(name) ? 'source' : 'off';
  return (
    <div className={classes.stage}>
      <Door />
      <ul className={classes.cards}>
        {models.map((model) => (
          <li key={model.name}>
            <ModelPanel
              model={model}
              identity={identify(model.name)}
              domains={domains}
              part={part(model.name)}
              onAssign={(next) => assign(model.name, next)}
              onInspect={() => inspect({ kind: 'model', name: model.name })}
            />
          </li>
        ))}
      </ul>
      <HubPanel />
      <ShelfPanel />
    </div>
  );
}

/** Which device it will be, and why. */
function Computes() {
  const device = useDevice((state) => state.device);
  if (device.kind !== 'ready') return null;
  const { report } = device;
  return (
    <p className={classes.computes}>
      Computes on {report.name}: {report.why}.
    </p>
  );
}

/** Leads to the field for a model of one's own. */
function bringModel(): void {
  const field = document.getElementById(HUB_FIELD);
  field?.scrollIntoView({ block: 'center' });
  field?.focus({ preventScroll: true });
}

/** The way in: one press runs the whole sample. Afterwards it points on. */
function Door() {
  const models = useProject((state) => state.models);
  const recipe = useProject((state) => state.recipe);
  const train = useProject((state) => state.train.length);
  const status = useRun((state) => state.status);
  const ready = useDevice(selectReady);
  const place = useDevice(({ device }) =>
    device.kind === 'ready' && device.report.kind === 'wasm' ? 'processor' : 'GPU',
  );
  const identify = useIdentity();
  if (!recipe) return null;
  const inUse = models.filter((model) => model.name === recipe.pivot || recipe.sources.includes(model.name));
  const bytes = inUse.reduce((sum, model) => sum + model.bytes, 0);
  const run = () => {
    startRun();
    showStage('fuse');
  };
  return (
    <section className={classes.door} aria-label="Run the sample">
      <div className={classes.words}>
        <h2>
          Fuse what {recipe.sources.length === 1 ? 'another model knows' : 'several models know'} into one
        </h2>
        <p>
          {inUse.every((model) => model.from === undefined)
            ? `${inUse.length} small chat models are built in (${formatBytes(bytes)}).`
            : `${inUse.length} chat models are here (${formatBytes(bytes)}).`}{' '}
          One press lines up their tokenizers, lets every source teach its own copy of the pivot on {train}{' '}
          conversations, and merges the copies. Everything runs in this tab, on your {place}.
        </p>
        <div className={classes.actions}>
          {isActive(status) ? (
            <Button onClick={() => showStage('fuse')}>Watch the run</Button>
          ) : status === 'done' ? (
            <>
              <Button onClick={() => showStage('chat')}>Chat with the fused model</Button>
              <Button variant="default" onClick={() => showStage('fuse')}>
                Look at the report
              </Button>
            </>
          ) : (
            <>
              <Button onClick={run} disabled={!ready} leftSection={<Icon name="play" size={13} />}>
                Run the sample
              </Button>
              <Button variant="default" onClick={() => showStage('align')}>
                Look at the tokens first
              </Button>
              <Button variant="default" onClick={bringModel}>
                Bring a model of your own
              </Button>
            </>
          )}
        </div>
        <Computes />
      </div>
      <figure className={classes.figure}>
        <FusionDiagram sources={recipe.sources} identify={identify} />
      </figure>
    </section>
  );
}

import { ActionIcon, Button, Progress } from '@mantine/core';
import { useEffect, useRef, useState } from 'react';
import { flushSync } from 'react-dom';
import type { HeldModel } from '../../../pipeline/hubModels.ts';
import { formatBytes } from '../../../util/bytes.ts';
import { removeModel, startDownload, useHub, verifyModel } from '../../state/hub.ts';
import { formatDay } from '../../views/format.ts';
import { Icon } from '../../views/Icon.tsx';
import { Panel } from '../../views/Panel.tsx';
import classes from './Hub.module.css';
import { heldTitle } from './heldTitle.ts';
import { useModelsInUse } from './useModelsInUse.ts';

/** Downloaded models: what they take, when they were used, and ways to check and delete them. */
export function ShelfPanel() {
  const models = useHub((state) => state.models);
  const freeBytes = useHub((state) => state.freeBytes);
  if (models.length === 0) return null;
  const used = models.reduce((sum, { bytesHere }) => sum + bytesHere, 0);
  const free = freeBytes === null ? '' : `, ${formatBytes(freeBytes)} free`;
  return (
    <Panel title="Downloaded models" note={`${formatBytes(used)} used${free}`} flush>
      <ul className={classes.shelf}>
        {models.map((model) => (
          <Held key={model.reference} model={model} />
        ))}
      </ul>
    </Panel>
  );
}

function Held({ model }: { readonly model: HeldModel }) {
  const [asking, setAsking] = useState(false);
  const download = useHub((state) => state.download);
  const checking = useHub((state) => state.checking.includes(model.reference));
  const checked = useHub((state) => state.checked[model.reference]);
  const { reference, bytes, bytesHere, complete, commit, revision, usedAt, licence } = model;
  const title = heldTitle(model);
  const own = download?.reference === reference;
  const locked = useModelsInUse().includes(reference) || own;
  const keep = useRef<HTMLButtonElement>(null);
  const remove = useRef<HTMLButtonElement>(null);
  // The button that was pressed goes away; the keyboard goes on where it was.
  useEffect(() => {
    if (asking) keep.current?.focus();
  }, [asking]);
  const keepIt = () => {
    flushSync(() => setAsking(false));
    remove.current?.focus();
  };
  return (
    <li className={classes.heldRow}>
      <div className={classes.heldWords}>
        <span className={classes.heldName}>{title}</span>
        <span className={`${classes.facts} num`}>
          {complete ? formatBytes(bytes) : `${formatBytes(bytesHere)} of ${formatBytes(bytes)}`} · {revision}{' '}
          at <code>{commit.slice(0, 8)}</code> · {licence ?? 'no licence given'} · last used{' '}
          {formatDay(usedAt)}
          {checked === 'right' ? ' · every file has its hash' : ''}
        </span>
        {complete || own ? null : (
          <Progress value={(100 * bytesHere) / bytes} size={3} aria-label={`How much of ${title} is here`} />
        )}
        {checked === 'damaged' ? (
          <span className={classes.facts} data-bad>
            A file was damaged and was removed; get it again.
          </span>
        ) : null}
      </div>
      <div className={classes.heldTools}>
        {asking ? (
          <>
            <span className={classes.facts}>Delete it?</span>
            <Button size="compact-xs" color="red" onClick={() => removeModel(reference)}>
              Delete {formatBytes(bytesHere)}
            </Button>
            <Button size="compact-xs" variant="default" ref={keep} onClick={keepIt}>
              Keep
            </Button>
          </>
        ) : (
          <>
            {complete && checked !== 'damaged' ? (
              <Button
                size="compact-xs"
                variant="default"
                loading={checking}
                onClick={() => verifyModel(reference)}
              >
                Check files
              </Button>
            ) : (
              <Button
                size="compact-xs"
                variant="default"
                leftSection={<Icon name="download" size={12} />}
                disabled={download !== undefined}
                onClick={() => startDownload(reference, title, bytes)}
              >
                Go on
              </Button>
            )}
            <ActionIcon
              ref={remove}
              size={24}
              aria-label={`Delete ${title}`}
              disabled={locked}
              onClick={() => setAsking(true)}
            >
              <Icon name="trash" size={14} />
            </ActionIcon>
          </>
        )}
      </div>
    </li>
  );
}

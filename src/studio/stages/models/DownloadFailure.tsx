import { Button } from '@mantine/core';
import { formatBytes } from '../../../util/bytes.ts';
import type { Fault } from '../../state/fault.ts';
import { removeModel, startDownload, useHub } from '../../state/hub.ts';
import { formatDay } from '../../views/format.ts';
import { Icon } from '../../views/Icon.tsx';
import classes from './Hub.module.css';
import { heldTitle } from './heldTitle.ts';
import { useModelsInUse } from './useModelsInUse.ts';

/** Why a download did not come to its end, and the one thing to do about it. */
export function DownloadFailure({
  failed,
  onToken,
}: {
  readonly failed: { readonly reference: string; readonly title: string; readonly fault: Fault };
  readonly onToken: () => void;
}) {
  const { reference, title, fault } = failed;
  const own = useHub((state) => state.models.find((model) => model.reference === reference));
  const again = () => startDownload(reference, title, own?.bytes ?? 0);
  return (
    <div className={classes.failure} role="alert">
      <div className={classes.fault}>
        <Icon name="warning" size={15} />
        <p>
          <strong>{title}</strong>
          {fault.code === 'disk-full'
            ? 'It does not fit into the space that this browser gives; what has come is kept. Delete a model that is not needed, then go on.'
            : fault.message}
        </p>
        {fault.code === 'no-access' ? (
          <Button size="compact-xs" variant="default" onClick={onToken}>
            Give a token
          </Button>
        ) : null}
        <Button size="compact-xs" variant="default" onClick={again}>
          {fault.code === 'disk-full' ? 'Go on' : 'Try again'}
        </Button>
      </div>
      {fault.code === 'disk-full' ? (
        <Removable reference={reference} needed={own ? own.bytes - own.bytesHere : 0} />
      ) : null}
    </div>
  );
}

/** The models that could make room, the one that was not used for the longest time first. */
function Removable({ reference, needed }: { readonly reference: string; readonly needed: number }) {
  const models = useHub((state) => state.models);
  const freeBytes = useHub((state) => state.freeBytes);
  const inUse = useModelsInUse();
  const others = models
    .filter((model) => model.reference !== reference)
    .toSorted((a, b) => a.usedAt - b.usedAt);
  // Browsers that hide how much there really is say that there is enough.
  const tight = freeBytes !== null && needed > freeBytes;
  return (
    <div className={classes.removable}>
      <p className={`${classes.facts} num`}>
        {formatBytes(needed)} are still needed{tight ? `, ${formatBytes(freeBytes)} are free` : ''}.
      </p>
      {others.length === 0 ? (
        <p className={classes.facts}>
          No other model is kept here; choose a smaller form, or free space on this machine.
        </p>
      ) : (
        <ul className={classes.held}>
          {others.map((model) => (
            <li key={model.reference} className={classes.heldRow}>
              <span className={classes.heldName}>{heldTitle(model)}</span>
              <span className={`${classes.facts} num`}>
                {formatBytes(model.bytesHere)} · last used {formatDay(model.usedAt)}
              </span>
              <Button
                size="compact-xs"
                variant="default"
                leftSection={<Icon name="trash" size={12} />}
                aria-label={`Delete ${heldTitle(model)}`}
                disabled={inUse.includes(model.reference)}
                onClick={() => removeModel(model.reference)}
              >
                Delete
              </Button>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

import { ActionIcon, Button } from '@mantine/core';
import { useEffect, useRef } from 'react';
import { formatBytes } from '../../../util/bytes.ts';
import { chooseForm, formTitle, type LookState, startDownload, useHub } from '../../state/hub.ts';
import { Icon } from '../../views/Icon.tsx';
import classes from './Hub.module.css';

/** What the hub has of a model: its forms with their sizes, one of them to download. */
export function HubFound({
  look,
  onClose,
}: {
  readonly look: Extract<LookState, { kind: 'found' }>;
  readonly onClose: () => void;
}) {
  const { info, chosen } = look;
  const form = info.forms.find(({ reference }) => reference === chosen);
  const held = useHub((state) => state.models.find((model) => model.reference === chosen));
  const freeBytes = useHub((state) => state.freeBytes) ?? info.freeBytes;
  const busy = useHub((state) => state.download !== undefined);
  const box = useRef<HTMLElement>(null);
  // It may come up below the window's edge.
  useEffect(() => {
    box.current?.scrollIntoView?.({ block: 'nearest' });
  }, []);
  const missing = form ? form.bytes - (held?.bytesHere ?? 0) : 0;
  const tight = freeBytes !== null && missing > freeBytes;
  return (
    <section ref={box} className={classes.found} aria-label={info.id}>
      <header className={classes.foundHead}>
        <h3>{info.id}</h3>
        <span className={`${classes.facts} num`}>
          {info.revision} · commit <code>{info.commit.slice(0, 8)}</code> · licence{' '}
          {info.licence ?? 'not given'}
        </span>
        <ActionIcon
          className={classes.close ?? ''}
          size={22}
          aria-label="Close what was found"
          onClick={onClose}
        >
          <Icon name="close" size={12} />
        </ActionIcon>
      </header>
      {info.stale === undefined ? null : (
        <p className={classes.warn}>
          <Icon name="warning" size={13} /> The hub does not answer; this is what was known before.
        </p>
      )}
      {info.gated ? (
        <p className={classes.warn}>
          <Icon name="lock" size={13} />
          <span>
            Gated: accept its terms on{' '}
            <a href={info.page} target="_blank" rel="noreferrer">
              its page
            </a>
            , and give a token.
          </span>
        </p>
      ) : null}
      {info.forms.length === 0 ? (
        <p className={classes.warn}>
          <Icon name="warning" size={13} /> {info.id} has no safetensors, GGUF or ONNX file that Alloy reads;
          look up another model, such as a GGUF copy of it.
        </p>
      ) : (
        <fieldset className={classes.forms}>
          <legend className="visually-hidden">Form to download</legend>
          {info.forms.map((one) => (
            <label
              key={one.reference}
              className={classes.form}
              data-chosen={one.reference === chosen || undefined}
            >
              <input
                type="radio"
                name="hub-form"
                checked={one.reference === chosen}
                onChange={() => chooseForm(one.reference)}
              />
              <span className={classes.formName}>{one.label}</span>
              <span className={classes.formFile}>{one.file ?? 'safetensors'}</span>
              <span className={classes.formNote}>
                {one.here ? 'here' : one.chosen && info.forms.length > 1 ? 'recommended' : ''}
              </span>
              <span className={`${classes.formSize} num`}>{formatBytes(one.bytes)}</span>
            </label>
          ))}
        </fieldset>
      )}
      {form ? (
        <div className={classes.foundFoot}>
          {form.here ? (
            <span className={classes.here}>
              <Icon name="check" size={13} /> Downloaded; give it a part on its card above.
            </span>
          ) : (
            <Button
              leftSection={<Icon name="download" size={13} />}
              disabled={busy || tight}
              onClick={() => startDownload(form.reference, formTitle(info.id, form), form.bytes)}
            >
              {held && held.bytesHere > 0
                ? `Go on, ${formatBytes(missing)} left`
                : `Download ${formatBytes(form.bytes)}`}
            </Button>
          )}
          {freeBytes === null || form.here ? null : (
            <span className={classes.facts} data-bad={tight || undefined}>
              {tight
                ? `Only ${formatBytes(freeBytes)} are free in this browser; delete models below, or choose a smaller form.`
                : `${formatBytes(freeBytes)} are free in this browser.`}
            </span>
          )}
        </div>
      ) : null}
    </section>
  );
}

import { Button, TextInput } from '@mantine/core';
import { useState } from 'react';
import { closeLook, lookUp, useHub } from '../../state/hub.ts';
import { Icon } from '../../views/Icon.tsx';
import { Panel } from '../../views/Panel.tsx';
import { DownloadFailure } from './DownloadFailure.tsx';
import { DownloadProgress } from './DownloadProgress.tsx';
import classes from './Hub.module.css';
import { HubFound } from './HubFound.tsx';
import { HubSettings } from './HubSettings.tsx';

export const HUB_FIELD = 'hub-model';

/** Models from the hub: looked up by id or address, and downloaded once. */
export function HubPanel() {
  const look = useHub((state) => state.look);
  const download = useHub((state) => state.download);
  const failed = useHub((state) => state.failed);
  const [text, setText] = useState('');
  const [settings, setSettings] = useState(false);
  const looking = look.kind === 'looking';
  // What had the focus goes away; the field is where one goes on.
  const closeSettings = () => {
    setSettings(false);
    document.getElementById(HUB_FIELD)?.focus();
  };
  const closeFound = () => {
    closeLook();
    document.getElementById(HUB_FIELD)?.focus();
  };
  return (
    <Panel
      title="From the Hugging Face hub"
      tools={
        <Button
          size="compact-xs"
          variant="subtle"
          leftSection={<Icon name="sliders" size={13} />}
          aria-expanded={settings}
          onClick={() => setSettings(!settings)}
        >
          Token and mirrors
        </Button>
      }
    >
      <div className={classes.stack}>
        {settings ? <HubSettings onDone={closeSettings} /> : null}
        <form
          className={classes.ask}
          onSubmit={(event) => {
            event.preventDefault();
            lookUp(text);
          }}
        >
          <TextInput
            id={HUB_FIELD}
            className={classes.field ?? ''}
            aria-label="Model id or address"
            placeholder="owner/name, or a model page’s address"
            value={text}
            onChange={(event) => setText(event.currentTarget.value)}
            spellCheck={false}
            autoComplete="off"
            autoCapitalize="off"
          />
          <Button type="submit" loading={looking} disabled={text.trim() === ''}>
            Look up
          </Button>
        </form>
        {look.kind === 'failed' ? (
          <div className={classes.fault} role="alert">
            <Icon name="warning" size={15} />
            <p>{look.fault.message}</p>
            {look.fault.code === 'no-access' ? (
              <Button size="compact-xs" variant="default" onClick={() => setSettings(true)}>
                Give a token
              </Button>
            ) : look.fault.code === 'bad-argument' ? null : (
              <Button size="compact-xs" variant="default" onClick={() => lookUp(look.text)}>
                Try again
              </Button>
            )}
          </div>
        ) : null}
        {download ? <DownloadProgress download={download} /> : null}
        {failed ? <DownloadFailure failed={failed} onToken={() => setSettings(true)} /> : null}
        {look.kind === 'found' ? <HubFound key={look.info.id} look={look} onClose={closeFound} /> : null}
        {look.kind === 'idle' && !download && !failed ? (
          <p className={classes.hint}>
            Chat models in safetensors or GGUF (ONNX ones can teach, not learn), downloaded once and kept in
            this browser; 100 to 600 million parameters are a good start. Only the hub is asked, and only for
            what you look up here.
          </p>
        ) : null}
      </div>
    </Panel>
  );
}

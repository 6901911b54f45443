import { Button, PasswordInput, Switch, TextInput } from '@mantine/core';
import { useState } from 'react';
import { changeHubSettings, useHubSettings } from '../../state/hubSettings.ts';
import { Icon } from '../../views/Icon.tsx';
import classes from './Hub.module.css';

/** The token for gated models, and where models come from. */
export function HubSettings({ onDone }: { readonly onDone: () => void }) {
  const stored = useHubSettings();
  const [token, setToken] = useState(stored.token);
  const [endpoint, setEndpoint] = useState(stored.endpoint);
  const [keepToken, setKeepToken] = useState(stored.keepToken);
  const save = async () => {
    if (await changeHubSettings({ token, endpoint, keepToken })) onDone();
  };
  return (
    <form
      className={classes.settings}
      aria-label="Token and mirrors"
      onSubmit={(event) => {
        event.preventDefault();
        save();
      }}
    >
      <PasswordInput
        size="xs"
        label="Token"
        description="For gated models: make one at huggingface.co/settings/tokens. It is sent to the hub alone."
        placeholder="hf_…"
        value={token}
        onChange={(event) => setToken(event.currentTarget.value)}
        autoComplete="off"
        visibilityToggleButtonProps={{ 'aria-label': 'Show the token' }}
      />
      <TextInput
        label="Endpoints"
        description="The hub, or mirrors of it with spaces between: the next takes over where one is down."
        placeholder="https://huggingface.co"
        value={endpoint}
        onChange={(event) => setEndpoint(event.currentTarget.value)}
        spellCheck={false}
        autoComplete="off"
      />
      {stored.fault ? (
        <div className={classes.fault} role="alert">
          <Icon name="warning" size={15} />
          <p>{stored.fault.message}</p>
        </div>
      ) : null}
      <div className={classes.settingsFoot}>
        <Switch
          label="Keep the token in this browser"
          checked={keepToken}
          onChange={(event) => setKeepToken(event.currentTarget.checked)}
        />
        <Button type="submit">Use these</Button>
      </div>
    </form>
  );
}

import { Menu } from '@mantine/core';
import { DEVICE_CHOICES, type DeviceChoice } from '../../pipeline/deviceChoice.ts';
import type { DeviceReport } from '../../pipeline/protocol.ts';
import { chooseDevice, type DeviceState, useDevice } from '../state/device.ts';
import { refreshLive } from '../state/merge.ts';
import { isActive, useRun } from '../state/run.ts';
import { Icon } from '../views/Icon.tsx';
import classes from './DeviceSwitch.module.css';

const titles: Readonly<Record<DeviceChoice, string>> = {
  auto: 'Automatic',
  webgpu: 'GPU',
  wasm: 'Processor',
};

/** What computes, and the way to another device. */
export function DeviceSwitch() {
  const device = useDevice((state) => state.device);
  const choice = useDevice((state) => state.choice);
  const busy = useRun((state) => isActive(state.status));
  const report = device.kind === 'ready' || device.kind === 'lost' ? device.report : undefined;
  const choose = async (next: DeviceChoice) => {
    if (next === choice) return;
    await chooseDevice(next);
    if (useDevice.getState().device.kind === 'ready') refreshLive();
  };
  return (
    <Menu
      position="top-start"
      width={330}
      shadow="md"
      withinPortal={false}
      floatingStrategy="fixed"
      withInitialFocusPlaceholder={false}
    >
      <Menu.Target>
        <button
          type="button"
          className={classes.target}
          data-state={device.kind}
          aria-label={`Device: ${words(device)}`}
          disabled={device.kind === 'opening'}
        >
          <span className={classes.light} aria-hidden="true" />
          <span className={classes.name}>{words(device)}</span>
          <Icon name="down" size={11} />
        </button>
      </Menu.Target>
      <Menu.Dropdown className={classes.list}>
        {device.kind === 'ready' ? (
          <div className={classes.why}>
            {words(device)}: {device.report.why}.
          </div>
        ) : null}
        <Menu.RadioGroup value={choice} onChange={(next) => choose(next as DeviceChoice)}>
          {DEVICE_CHOICES.map((one) => (
            <Menu.RadioItem
              key={one}
              value={one}
              closeMenuOnClick
              data-autofocus={one === choice || undefined}
              disabled={busy || !usable(one, report)}
              checkIcon={<Icon name="check" size={13} />}
            >
              <span className={classes.title}>{titles[one]}</span>
              <span className={classes.note}>{note(one, report)}</span>
            </Menu.RadioItem>
          ))}
        </Menu.RadioGroup>
        {busy ? (
          <div className={classes.why}>While a fusion is running the device stays; stop it first.</div>
        ) : null}
      </Menu.Dropdown>
    </Menu>
  );
}

function words(device: DeviceState): string {
  switch (device.kind) {
    case 'opening':
      return 'Opening the device…';
    case 'unsupported':
      return 'No usable device';
    case 'lost':
      return device.report.kind === 'wasm' ? 'Processor lost' : 'GPU lost';
    case 'ready':
      return deviceWords(device.report);
  }
}

/** A device's name at the beginning of a line. */
export function deviceWords({ name, kind, software }: DeviceReport): string {
  const begun = `${name.slice(0, 1).toUpperCase()}${name.slice(1)}`;
  return kind === 'webgpu' && software ? `${begun} (software, slow)` : begun;
}

function usable(choice: DeviceChoice, report: DeviceReport | undefined): boolean {
  return choice === 'auto' || report === undefined || report.ways[choice].usable;
}

function note(choice: DeviceChoice, report: DeviceReport | undefined): string {
  if (choice === 'auto') return 'A GPU where there is one, else the processor';
  const way = report?.ways[choice];
  if (way?.note !== undefined) {
    const begun = `${way.note.slice(0, 1).toUpperCase()}${way.note.slice(1)}`;
    return way.usable ? begun : `Not here: ${way.note}`;
  }
  return choice === 'webgpu' ? 'WebGPU' : 'WebAssembly on all cores';
}

import { expect, test } from 'vitest';
import type { Device } from '../device/device.ts';
import { PaperDevice } from '../device/paperDevice.ts';
import { AlloyError } from '../util/errors.ts';
import type { ChosenDevice, DeviceChoice } from './deviceChoice.ts';
import { SessionKeeper } from './sessionKeeper.ts';

/** A device on paper that can be closed. */
function closable(): Device & { closed: boolean } {
  let lose: (reason: string) => void = () => undefined;
  const lost = new Promise<string>((resolve) => {
    lose = resolve;
  });
  const device = Object.assign(new PaperDevice(), { closed: false });
  return Object.assign(device, {
    lost,
    dispose() {
      device.closed = true;
      lose('it was closed');
    },
  });
}

function keeper() {
  const opened: { choice: DeviceChoice; device: ReturnType<typeof closable> }[] = [];
  let lost = 0;
  const made = new SessionKeeper(
    {
      async openDevice(choice): Promise<ChosenDevice> {
        const device = closable();
        opened.push({ choice, device });
        const kind = choice === 'wasm' ? 'wasm' : 'webgpu';
        return { device, kind, why: 'a test', ways: { webgpu: { usable: true }, wasm: { usable: true } } };
      },
    },
    {
      openModel: () => Promise.reject(new AlloyError('missing-file', 'There is none.')),
      onLost: () => {
        lost++;
      },
    },
  );
  return { keeper: made, opened, lost: () => lost };
}

test('one device stays open until another choice is made', async () => {
  const { keeper: it, opened, lost } = keeper();
  expect(await it.open()).toMatchObject({ choice: 'auto', kind: 'webgpu', why: 'a test' });
  await Promise.all([it.open(), it.open('auto'), it.opened()]);
  expect(opened).toHaveLength(1);
  const before = await it.opened();
  expect(await it.open('wasm')).toMatchObject({ choice: 'wasm', kind: 'wasm' });
  expect(opened.map(({ choice }) => choice)).toStrictEqual(['auto', 'wasm']);
  expect(opened.map(({ device }) => device.closed)).toStrictEqual([true, false]);
  await expect(before.run(async () => 1)).rejects.toMatchObject({ code: 'device-lost' });
  expect(lost()).toBe(1);
  // The choice stays.
  expect(await it.open()).toMatchObject({ choice: 'wasm' });
  expect(opened).toHaveLength(2);
});

test('a run keeps its device, but one that is lost may be replaced', async () => {
  const { keeper: it, opened } = keeper();
  await it.open('auto');
  await expect(it.open('wasm', true)).rejects.toMatchObject({ code: 'bad-argument' });
  expect(await it.open('auto', true)).toMatchObject({ choice: 'auto' });
  expect(opened).toHaveLength(1);
  opened[0]!.device.dispose();
  await (await it.opened()).lost;
  expect(await it.open('wasm', true)).toMatchObject({ kind: 'wasm' });
  expect(opened).toHaveLength(2);
});

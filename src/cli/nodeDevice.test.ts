import { expect, test } from 'vitest';
import { parseCommand } from './command.ts';
import { score } from './commands/score.ts';
import { tokenize } from './commands/tokenize.ts';
import { commandHelp } from './help.ts';
import { openNodeDevice } from './nodeDevice.ts';

async function open(words: readonly string[], environment: NodeJS.ProcessEnv = {}) {
  const notes: string[] = [];
  const args = parseCommand(score, ['model', ...words]);
  const device = await openNodeDevice(args, environment, { note: (text) => notes.push(text) });
  const { tuning } = device.info;
  device.dispose();
  return { tuning, notes };
}

test('a device that is asked for is opened without a word', async () => {
  const wasm = { tuning: 'wasm', notes: [] };
  expect(await open(['--device', 'wasm'])).toStrictEqual(wasm);
  expect(await open([], { ALLOY_DEVICE: 'wasm' })).toStrictEqual(wasm);
  expect(await open(['--device', 'wasm'], { ALLOY_DEVICE: 'webgpu' })).toStrictEqual(wasm);
});

test('other names are told what there is', async () => {
  const names = 'choose among auto, webgpu, wasm';
  await expect(open(['--device', 'cpu'])).rejects.toThrow(`--device is "cpu"; ${names}`);
  await expect(open([], { ALLOY_DEVICE: 'cpu' })).rejects.toThrow(`ALLOY_DEVICE is "cpu"; ${names}`);
});

test('commands that open no device have no such option', () => {
  expect(() => parseCommand(tokenize, ['model', 'text', '--device', 'wasm'])).toThrow(/--device/u);
  expect(commandHelp(score)).toContain('--device NAME');
  expect(commandHelp(tokenize)).not.toContain('--device');
});

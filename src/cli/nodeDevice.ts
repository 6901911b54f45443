/** The device of the command line: `--device`, or `ALLOY_DEVICE` of the environment, or the best that there is. */
import { join } from 'node:path';
import type { Device } from '../device/device.ts';
import { openNodeWasm } from '../device/wasm/nodeWasmHost.ts';
import { lookForDawn, openDawnDevice } from '../device/webgpu/dawn.ts';
import { DEVICE_CHOICES, openChosen } from '../pipeline/deviceChoice.ts';
import { tuned } from '../pipeline/tuned.ts';
import { modelCacheFolder } from '../storage/nodeFolders.ts';
import { nodeTextFile } from '../storage/nodeTextFile.ts';
import { type Arguments, UsageError } from './command.ts';
import type { Progress } from './progress.ts';

/**
 * Opens it, and says which one `auto` has chosen and why.
 * @throws AlloyError `no-webgpu` where WebGPU was asked for and is not there; UsageError for another name
 */
export async function openNodeDevice(
  args: Pick<Arguments, 'choice'>,
  environment: NodeJS.ProcessEnv,
  progress: Pick<Progress, 'note'>,
): Promise<Device> {
  const choice = args.choice('device', DEVICE_CHOICES) ?? fromEnvironment(environment.ALLOY_DEVICE) ?? 'auto';
  const tiles = nodeTextFile(join(modelCacheFolder(environment), 'tiles.json'));
  const ways = {
    look: lookForDawn,
    webgpu: async () => tuned(await openDawnDevice(), tiles),
    wasm: openNodeWasm,
  };
  const { device, why } = await openChosen(choice, ways, { strict: choice !== 'auto' });
  if (choice === 'auto') progress.note(`Computing on ${device.name}: ${why}.`);
  return device;
}

function fromEnvironment(name: string | undefined) {
  if (name === undefined || name === '') return undefined;
  const known = DEVICE_CHOICES.find((choice) => choice === name);
  if (known) return known;
  throw new UsageError(`ALLOY_DEVICE is "${name}"; choose among ${DEVICE_CHOICES.join(', ')}`);
}

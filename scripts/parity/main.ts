/**
 * Checks Alloy against recorded numbers: `npm run parity [-- models | quant | merge | real]`. `ALLOY_GOLDENS` names
 * another folder of recordings of the same layout, `ALLOY_DEVICE` the device (`webgpu`, `wasm`). The last line is `N passed, N failed`.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { openNodeWasm } from '../../src/device/wasm/nodeWasmHost.ts';
import { openDawnDevice } from '../../src/device/webgpu/dawn.ts';
import { Checks } from './checks.ts';
import { checkMerge } from './merge.ts';
import { checkModels } from './models.ts';
import { checkQuant } from './quant.ts';
import { checkReal } from './real.ts';

const PARTS = ['models', 'quant', 'merge', 'real'] as const;
type Part = (typeof PARTS)[number];

async function main(): Promise<number> {
  const asked = process.argv.slice(2);
  const unknown = asked.find((name) => !PARTS.includes(name as Part));
  if (unknown) {
    console.error(`parity: there is no part "${unknown}"; choose among ${PARTS.join(', ')}`);
    return 2;
  }
  const goldens = process.env.ALLOY_GOLDENS ?? join(import.meta.dirname, '../../fixtures/goldens');
  const checks = new Checks();
  const device = process.env.ALLOY_DEVICE === 'wasm' ? await openNodeWasm() : await openDawnDevice();
  console.log(`parity of ${goldens} on ${device.name}`);
  const parts: Readonly<Record<Part, () => Promise<void>>> = {
    models: () => checkModels(device, goldens, checks),
    quant: () => checkQuant(device, goldens, checks),
    merge: async () => checkMerge(goldens, checks),
    real: () => checkReal(device, goldens, checks, asked.includes('real')),
  };
  if (!existsSync(goldens)) checks.add('recordings', false, `there is no folder ${goldens} (ALLOY_GOLDENS)`);
  else for (const part of PARTS) await checkPart(part, parts[part], asked, checks, goldens);
  console.log(`${checks.all.length - checks.failed.length} passed, ${checks.failed.length} failed`);
  return checks.failed.length > 0 || checks.all.length === 0 ? 1 : 0;
}

/** Recordings that cannot be read, and none where a part is asked for, are failures. */
async function checkPart(
  part: Part,
  run: () => Promise<void>,
  asked: readonly string[],
  checks: Checks,
  goldens: string,
): Promise<void> {
  if (asked.length > 0 && !asked.includes(part)) return;
  const count = () => checks.all.length + checks.skipped.length;
  const before = count();
  await checks.guard(part, run);
  if (asked.length > 0 && count() === before) checks.add(part, false, `${goldens} has no recordings of it`);
}

process.exit(await main());

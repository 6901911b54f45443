/**
 * Checks Alloy against recorded numbers: `npm run parity [-- models | quant | merge | real]`. `ALLOY_GOLDENS` names
 * another folder of recordings of the same layout. The last line is `N passed, N failed`.
 */
import { join } from 'node:path';
import { openDawn } from '../../src/gpu/dawn.ts';
import { Gpu } from '../../src/gpu/gpu.ts';
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
  const wanted = (part: Part) => asked.length === 0 || asked.includes(part);
  const checks = new Checks();
  const gpu = await Gpu.open(await openDawn());
  console.log(`parity of ${goldens} on ${gpu.name}`);
  if (wanted('models')) await checkModels(gpu, goldens, checks);
  if (wanted('quant')) await checkQuant(gpu, goldens, checks);
  if (wanted('merge')) checkMerge(goldens, checks);
  if (wanted('real')) await checkReal(gpu, goldens, checks, asked.includes('real'));
  console.log(`${checks.all.length - checks.failed.length} passed, ${checks.failed.length} failed`);
  return checks.failed.length > 0 || checks.all.length === 0 ? 1 : 0;
}

process.exit(await main());

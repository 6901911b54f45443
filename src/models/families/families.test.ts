/** Every recorded model, in every precision: generating with a cache says what scoring whole sequences says. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { testDevice } from '../../device/testing.ts';
import { openTensorFolder } from '../../formats/shardedSafetensors.ts';
import { nodeFileSource } from '../../storage/nodeStorage.ts';
import { parseConfig } from '../config.ts';
import { Generator } from '../generator.ts';
import { Scorer } from '../scorer.ts';
import { folderTensors } from '../tensorSource.ts';
import { loadDecoder } from '../weights.ts';
import { FAMILIES } from './families.ts';

const goldens = join(import.meta.dirname, '../../../fixtures/goldens/models');
const cases = readdirSync(goldens).filter((name) => name !== 'llama-dynamic');

async function opened(name: string) {
  const folder = join(goldens, name);
  const config = parseConfig(JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')), name);
  const open = async (file: string) =>
    file === 'model.safetensors' ? nodeFileSource(join(folder, file)) : null;
  return { config, source: folderTensors(await openTensorFolder(open, folder)) };
}

test('every family but the kin of others has a recorded model', () => {
  const kin = ['gemma', 'olmo3', 'stablelm'];
  const recorded = readdirSync(goldens).map(
    (name) => JSON.parse(readFileSync(join(goldens, name, 'config.json'), 'utf8')).model_type as string,
  );
  const families = FAMILIES.flatMap(({ modelTypes }) => modelTypes).filter((type) => !kin.includes(type));
  expect([...new Set(recorded)].sort()).toEqual([...families].sort());
});

describe.each(['f16', 'q4'] as const)('in %s', (precision) => {
  test.each(cases)('%s', async (name) => {
    const device = await testDevice();
    const { config, source } = await opened(name);
    const { weights, dispose } = await loadDecoder(device, config, source, { precision });
    const ids = Array.from({ length: 11 }, (_, i) => (5 * i + 2) % config.vocabSize);
    const scorer = new Scorer(device, config, weights, { topK: 5 });
    const generator = new Generator(device, config, weights, { capacity: 16 });
    const [want] = await scorer.score([ids]);
    for (let read = 7; read <= ids.length; read++) {
      const row =
        read === 7 ? await generator.prompt(ids.slice(0, 7)) : await generator.feed([ids[read - 1]!]);
      for (let entry = 0; entry < 5; entry++) {
        const expected = want!.topLogProbs[5 * (read - 1) + entry]!;
        expect(Math.abs(row.logProbs[entry]! - expected)).toBeLessThan(1e-3);
      }
    }
    for (const one of [generator, scorer, { dispose }]) one.dispose();
  });
});

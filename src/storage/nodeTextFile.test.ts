import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { nodeTextFile } from './nodeTextFile.ts';

test('a text is kept, replaced and found again', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'alloy-text-'));
  const path = join(folder, 'deep', 'text.json');
  expect(await nodeTextFile(path).read()).toBeUndefined();
  await nodeTextFile(path).write('one');
  await nodeTextFile(path).write('two');
  expect(await nodeTextFile(path).read()).toBe('two');
  expect(readdirSync(join(folder, 'deep'))).toEqual(['text.json']);
  rmSync(folder, { recursive: true });
});

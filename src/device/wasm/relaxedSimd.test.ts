import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { hasRelaxedSimd } from './relaxedSimd.ts';

/** The engine knows better than a list of versions: it takes or refuses the kernels that need it. */
test('relaxed SIMD is told exactly where the kernels with it compile', async () => {
  const file = new URL('../../../dist/kernels/kernels.relaxed.wasm', import.meta.url);
  expect(hasRelaxedSimd()).toBe(WebAssembly.validate(await readFile(file)));
});

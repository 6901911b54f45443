import { expect, test } from 'vitest';
import { PaperDevice } from '../device/paperDevice.ts';
import { AlloyError } from '../util/errors.ts';
import { type DeviceChoice, type DeviceWays, openChosen } from './deviceChoice.ts';

const GPU = { name: 'a card', software: false };
const SOFTWARE = { name: 'llvmpipe', software: true };

/** Ways that count what they opened. */
function ways(look: Awaited<ReturnType<DeviceWays['look']>>, change: Partial<DeviceWays> = {}) {
  const asked: string[] = [];
  const count = <T>(name: string, value: () => Promise<T>) => {
    return () => {
      asked.push(name);
      return value();
    };
  };
  return {
    asked,
    look: count('look', change.look ?? (async () => look)),
    webgpu: count('webgpu', change.webgpu ?? (async () => new PaperDevice())),
    wasm: count('wasm', change.wasm ?? (async () => new PaperDevice())),
  };
}

const fails = (message: string) => () => Promise.reject(new AlloyError('unsupported', message));

test.each([
  ['auto', GPU, 'webgpu', /^a GPU is there$/],
  ['auto', SOFTWARE, 'wasm', /^the only WebGPU adapter is software \(llvmpipe\), on which/],
  ['auto', 'this browser has no WebGPU', 'wasm', /^this browser has no WebGPU$/],
  ['webgpu', GPU, 'webgpu', /^chosen by hand$/],
  ['webgpu', SOFTWARE, 'webgpu', /^chosen by hand$/],
  ['webgpu', 'WebGPU found no graphics adapter', 'wasm', /^the GPU was chosen, but WebGPU found no/],
  ['wasm', GPU, 'wasm', /^chosen by hand$/],
  ['wasm', 'this browser has no WebGPU', 'wasm', /^chosen by hand$/],
] as const)('%s with %o computes on %s', async (choice, look, kind, why) => {
  const all = ways(look);
  const chosen = await openChosen(choice, all);
  expect(chosen.kind).toBe(kind);
  expect(chosen.why).toMatch(why);
  expect(all.asked).toStrictEqual(['look', kind]);
  expect(chosen.ways.webgpu.usable).toBe(typeof look !== 'string');
  expect(chosen.ways.wasm.usable).toBe(true);
});

test.each(['auto', 'webgpu'] as const)('a GPU that cannot be opened is done without (%s)', async (choice) => {
  const chosen = await openChosen(choice, ways(GPU, { webgpu: fails('This adapter is too small.') }));
  expect(chosen).toMatchObject({
    kind: 'wasm',
    why: 'the GPU cannot be used: This adapter is too small',
    ways: { webgpu: { usable: false, note: 'This adapter is too small' } },
  });
});

test.each([
  ['auto', /^the processor's own device fails: No SIMD$/],
  ['wasm', /^the processor was chosen, but No SIMD$/],
] as const)(
  'a processor that cannot be used leaves the adapter, even a software one (%s)',
  async (choice, why) => {
    const chosen = await openChosen(choice, ways(SOFTWARE, { wasm: fails('No SIMD.') }));
    expect(chosen).toMatchObject({ kind: 'webgpu', ways: { wasm: { usable: false, note: 'No SIMD' } } });
    expect(chosen.why).toMatch(why);
  },
);

test.each([
  ['auto', 'no WebGPU'],
  ['webgpu', 'no WebGPU'],
  ['wasm', 'no WebGPU'],
  ['auto', GPU],
] as const)('where nothing can be opened, both reasons are told (%s, %o)', async (choice, look) => {
  const all = ways(look, { wasm: fails('No SIMD.'), webgpu: fails('no WebGPU.') });
  await expect(openChosen(choice, all)).rejects.toMatchObject({
    code: 'no-webgpu',
    message: "Nothing here can compute: no WebGPU, and the processor's own device fails (No SIMD).",
  });
});

test('one thread alone says why', async () => {
  const alone = Object.assign(new PaperDevice(), { alone: 'the page is not cross-origin isolated' });
  const chosen = await openChosen('auto', ways('no WebGPU', { wasm: async () => alone }));
  expect(chosen.why).toBe('no WebGPU; on one thread, since the page is not cross-origin isolated');
});

test('strictly, what was asked for is opened and nothing else is even looked at', async () => {
  for (const choice of ['webgpu', 'wasm'] as const satisfies DeviceChoice[]) {
    const all = ways('nothing');
    expect((await openChosen(choice, all, { strict: true })).kind).toBe(choice);
    expect(all.asked).toStrictEqual([choice]);
    const failing = ways(GPU, { [choice]: fails('It is not there.') });
    await expect(openChosen(choice, failing, { strict: true })).rejects.toThrow('It is not there.');
    expect(failing.asked).toStrictEqual([choice]);
  }
});

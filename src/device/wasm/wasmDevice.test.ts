import { spawnSync } from 'node:child_process';
import { afterEach, expect, test } from 'vitest';
import { defineKernel, dispatch, read, write } from '../kernel.ts';
import { nodeWasmHost } from './nodeWasmHost.ts';
import { WasmDevice } from './wasmDevice.ts';

const devices: WasmDevice[] = [];
afterEach(() => {
  for (const device of devices.splice(0)) device.dispose();
});

async function open(threads: number): Promise<WasmDevice> {
  const device = await WasmDevice.open(nodeWasmHost(threads));
  devices.push(device);
  return device;
}

const norm = defineKernel({
  name: 'norm of a device',
  buffers: { x: read('f32'), w: read('f32'), y: write('f32'), rstd: write('f32') },
  params: { rows: 'u32', width: 'u32', eps: 'f32', offset: 'f32' },
  wasm: { name: 'rmsNormForward', constants: [0], pieces: ({ rows }) => rows },
});

/** Keeps the device busy for a moment; y becomes 1. */
function work(device: WasmDevice, rows = 4000, width = 64) {
  const x = device.createFrom(new Float32Array(rows * width).fill(1.5), 'x');
  const w = device.createFrom(new Float32Array(width).fill(1), 'w');
  const y = device.createBuffer(rows * width * 4, 'y');
  const rstd = device.createBuffer(rows * 4, 'rstd');
  const once = dispatch(norm, { x, w, y, rstd }, { rows, width, eps: 0, offset: 0 }, [1, 1, 1]);
  return { buffers: [x, w, y, rstd], y, program: device.record(Array(20).fill(once), 'work') };
}

test.each([0, 2])(
  'what lies beside a buffer, or where one was, is not touched (threads: %i)',
  async (threads) => {
    const device = await open(threads);
    const mine = device.createFrom(new Float32Array([1, 2, 3, 4]), 'mine');
    const next = device.createFrom(new Float32Array([5, 6, 7, 8]), 'next');
    const refusal = { code: 'internal', message: expect.stringContaining('"mine"') };
    await expect(device.download(mine, 0, 20)).rejects.toMatchObject(refusal);
    await expect(device.download(mine, -4, 4)).rejects.toMatchObject(refusal);
    expect(() => device.upload(mine, new Float32Array(5))).toThrow(expect.objectContaining(refusal));
    expect(() => device.upload(mine, new Float32Array(1), -4)).toThrow(expect.objectContaining(refusal));
    device.destroyBuffer(mine);
    const later = device.createFrom(new Float32Array([9, 10, 11, 12]), 'later');
    expect(() => device.upload(mine, new Float32Array(4))).toThrow(expect.objectContaining(refusal));
    await expect(device.download(mine)).rejects.toMatchObject(refusal);
    expect(await device.downloadF32(later)).toEqual(new Float32Array([9, 10, 11, 12]));
    expect(await device.downloadF32(next)).toEqual(new Float32Array([5, 6, 7, 8]));
  },
);

test.each([0, 2])(
  'what is freed while programs wait for it stays until they are through (threads: %i)',
  async (threads) => {
    const device = await open(threads);
    const { buffers, y, program } = work(device);
    program.submit();
    program.submit();
    program.dispose();
    const got = device.downloadF32(y);
    for (const buffer of buffers) device.destroyBuffer(buffer);
    for (let i = 0; i < 20; i++) device.createFrom(new Float32Array(100_000).fill(Number.NaN), `later ${i}`);
    expect((await got).every((value) => Math.abs(value - 1) < 1e-5)).toBe(true);
  },
);

test('a page without room for what is read back hears of it, and the device goes on', async () => {
  const device = await open(2);
  const { y, program } = work(device);
  program.submit();
  const { Uint8Array: Bytes } = globalThis;
  const reads = [device.download(y), device.downloadF32(y, 4)];
  globalThis.Uint8Array = new Proxy(Bytes, {
    construct(target, args: [number]) {
      if (args[0] === y.bytes) throw new RangeError('Array buffer allocation failed');
      return Reflect.construct(target, args) as object;
    },
  });
  try {
    await expect(reads[0]).rejects.toThrow('Array buffer allocation failed');
  } finally {
    globalThis.Uint8Array = Bytes;
  }
  expect((await reads[1]) as Float32Array).toHaveLength(4);
  await device.idle();
});

test('a device that nobody closed keeps the process alive while it computes, and no longer', () => {
  const script = `
    import { nodeWasmHost } from './src/device/wasm/nodeWasmHost.ts';
    import { WasmDevice } from './src/device/wasm/wasmDevice.ts';
    import { scale } from './src/kernels/elementwise.ts';
    const device = await WasmDevice.open(nodeWasmHost(2));
    const y = device.createFrom(new Float32Array(1e6).fill(7), 'y');
    device.run(Array(50).fill(scale({ y }, 1e6, 1)));
    console.log((await device.downloadF32(y))[1e6 - 1]);`;
  const { stdout, status } = spawnSync(
    process.execPath,
    ['--import', 'tsx', '--input-type=module', '-e', script],
    {
      encoding: 'utf8',
      timeout: 60_000,
    },
  );
  expect({ stdout, status }).toEqual({ stdout: '7\n', status: 0 });
});

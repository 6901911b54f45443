import { afterEach, expect, test } from 'vitest';
import type { DeviceBuffer } from '../deviceBuffer.ts';
import { type Dispatch, defineKernel, dispatch, read, write } from '../kernel.ts';
import { nodeWasmHost } from './nodeWasmHost.ts';
import { WasmDevice } from './wasmDevice.ts';
import type { WasmHost } from './wasmHost.ts';

/** The norm of rows, as `src/kernels/rmsNorm.ts` has it, with one of its WASM functions. */
const norm = defineKernel({
  name: 'norm of a crew',
  buffers: { x: read('f32'), w: read('f32'), y: write('f32'), rstd: write('f32') },
  params: { rows: 'u32', width: 'u32', eps: 'f32', offset: 'f32' },
  code: '@compute @workgroup_size(1) fn main() {}',
  wasm: { name: 'rmsNormForward', constants: [0], pieces: ({ rows }) => rows },
});

const ROWS = 1031;
const WIDTH = 67;
const devices: WasmDevice[] = [];
afterEach(() => {
  for (const device of devices.splice(0)) device.dispose();
});

async function open(host: WasmHost): Promise<WasmDevice> {
  const device = await WasmDevice.open(host);
  devices.push(device);
  return device;
}

/** Norms of norms: every dispatch reads what the one before has written. */
function chain(device: WasmDevice, depth: number, rows = ROWS, width = WIDTH) {
  const x = Float32Array.from({ length: rows * width }, (_, i) => Math.sin(i * 1.7) * (1 + (i % 13)));
  const buffers = [device.createFrom(x, 'x'), device.createBuffer(x.byteLength, 'y')];
  const w = device.createFrom(
    Float32Array.from({ length: width }, (_, i) => 1 + i / width),
    'w',
  );
  const rstd = device.createBuffer(rows * 4, 'rstd');
  const dispatches: Dispatch<DeviceBuffer>[] = Array.from({ length: depth }, (_, i) =>
    dispatch(
      norm,
      { x: buffers[i % 2]!, w, y: buffers[(i + 1) % 2]!, rstd },
      { rows, width, eps: 1e-5, offset: 0 },
      [1, 1, 1],
    ),
  );
  return { program: device.record(dispatches, 'chain'), last: buffers[depth % 2]! };
}

/** A host whose first threads behave otherwise. */
function withThreads(host: WasmHost, odd: (index: number) => Partial<WasmHost> | undefined): WasmHost {
  let index = 0;
  return {
    ...host,
    spawn: (start, events) => (odd(index++)?.spawn ?? host.spawn)(start, events),
  };
}

const silent: Pick<WasmHost, 'spawn'> = {
  spawn: () => ({ join: () => undefined, terminate: () => undefined }),
};
const refused: Pick<WasmHost, 'spawn'> = {
  spawn(_, { failed }) {
    setTimeout(() => failed('its script was refused'));
    return { join: () => undefined, terminate: () => undefined };
  },
};

test('any number of threads, and the calling thread alone, come to the same bits', async () => {
  const bits: string[] = [];
  for (const threads of [0, 1, 2, 5]) {
    const device = await open(nodeWasmHost(threads));
    expect(device.threads).toBe(Math.max(1, threads));
    const { program, last } = chain(device, 9);
    for (let run = 0; run < 3; run++) program.submit();
    bits.push(Buffer.from(await device.download(last)).toString('base64'));
  }
  expect(new Set(bits).size).toBe(1);
  expect(new Float32Array(Buffer.from(bits[0]!, 'base64').buffer, 0, 8).every(Number.isFinite)).toBe(true);
});

test('uploads, programs and downloads happen in the order in which they were asked for', async () => {
  const device = await open(nodeWasmHost(2));
  const { program, last } = chain(device, 1, 64, 8);
  const seen: Promise<Float32Array>[] = [];
  for (let run = 0; run < 20; run++) {
    device.upload(last, new Float32Array(64 * 8).fill(run));
    seen.push(device.downloadF32(last, 1));
    program.submit();
    seen.push(device.downloadF32(last, 1));
  }
  const values = (await Promise.all(seen)).map(([first]) => first);
  expect(values.filter((_, index) => index % 2 === 0)).toEqual(Array.from({ length: 20 }, (_, run) => run));
  expect(new Set(values.filter((_, index) => index % 2 === 1)).size).toBe(1);
});

test('threads that are refused are done without', async () => {
  const device = await open(withThreads(nodeWasmHost(3), (index) => (index === 1 ? refused : undefined)));
  expect(device.threads).toBe(2);
  expect(device.alone).toBeUndefined();
  const { program, last } = chain(device, 3);
  program.submit();
  const alone = await open(nodeWasmHost(0));
  const other = chain(alone, 3);
  other.program.submit();
  expect(await device.downloadF32(last)).toEqual(await alone.downloadF32(other.last));
});

test('without any thread the calling one computes alone, and says why', async () => {
  const device = await open(withThreads(nodeWasmHost(2), () => refused));
  expect(device.threads).toBe(1);
  expect(device.alone).toMatch(/no thread could be started \(its script was refused\)/u);
  expect(device.info.description).toMatch(/one thread/u);
  expect(device.info.features.has('threads')).toBe(false);
  const { program } = chain(device, 3);
  await program.run();
  device.check();
});

test('threads that never say anything are given up within seconds', async () => {
  const began = performance.now();
  const host = nodeWasmHost(2);
  const device = await WasmDevice.open(
    withThreads(host, (index) => (index === 0 ? silent : undefined)),
    {
      patience: { startMs: 1500 },
    },
  );
  devices.push(device);
  expect(device.threads).toBe(1);
  expect(performance.now() - began).toBeLessThan(8000);
  await chain(device, 2).program.run();
});

test('a thread that ends takes the device with it: everything that waits is told, and nothing hangs', async () => {
  const ends: ((reason: string) => void)[] = [];
  const host = nodeWasmHost(2);
  const device = await open({
    ...host,
    spawn(start, events) {
      ends.push(events.failed);
      return host.spawn(start, events);
    },
  });
  const { program, last } = chain(device, 200, 5003, 256);
  for (let run = 0; run < 3; run++) program.submit();
  const outcomes = Promise.allSettled([device.download(last), device.idle()]);
  ends[1]?.('it stopped with code 1');
  expect(await device.lost).toBe('it stopped with code 1');
  for (const outcome of await outcomes) {
    expect(outcome).toMatchObject({
      status: 'rejected',
      reason: { code: 'device-lost', message: expect.stringMatching(/stopped with code 1.*checkpoint/u) },
    });
  }
  expect(() => device.check()).toThrow(expect.objectContaining({ code: 'device-lost' }));
  await expect(device.download(last)).rejects.toMatchObject({ code: 'device-lost' });
});

test('a thread that has died without a word is noticed', async () => {
  const host = nodeWasmHost(2);
  let index = 0;
  const device = await WasmDevice.open(
    {
      ...host,
      spawn(start, events) {
        const thread = host.spawn(start, events);
        return index++ === 0 ? thread : { ...thread, join: () => undefined };
      },
    },
    { patience: { lookMs: 20 } },
  );
  devices.push(device);
  const { program, last } = chain(device, 3);
  // Being idle for long is no fault.
  await new Promise((resolve) => setTimeout(resolve, 500));
  device.check();
  program.submit();
  await expect(device.download(last)).rejects.toMatchObject({
    code: 'device-lost',
    message: expect.stringMatching(/no thread has moved/u),
  });
});

test('a thread that traps is noticed', async () => {
  const device = await open(nodeWasmHost(2));
  const x = device.createBuffer(4096, 'x');
  const others = {
    w: device.createBuffer(16, 'w'),
    y: device.createBuffer(16, 'y'),
    rstd: device.createBuffer(16, 'rstd'),
  };
  // Rows of two gigabytes: the first one is read beyond the end of the memory.
  device.run([
    dispatch(norm, { x, ...others }, { rows: 1, width: 2 ** 29 - 1, eps: 0, offset: 0 }, [1, 1, 1]),
  ]);
  await expect(device.idle()).rejects.toMatchObject({
    code: 'device-lost',
    message: expect.stringMatching(/out of bounds/u),
  });
});

test('a device that is closed refuses what comes later and ends what waits', async () => {
  const device = await WasmDevice.open(nodeWasmHost(2));
  const { program, last } = chain(device, 50, 5003, 256);
  program.submit();
  const waiting = Promise.allSettled([device.download(last), device.idle()]);
  device.dispose();
  for (const { status } of await waiting) expect(status).toBe('rejected');
  expect(await device.lost).toMatch(/closed/u);
});

test('more than there is room for is refused by name, and the rest goes on', async () => {
  const device = await WasmDevice.open(nodeWasmHost(0), { limits: { totalBytes: 40_000_000 } });
  devices.push(device);
  const refusal = { code: 'out-of-memory', message: expect.stringContaining('huge') };
  expect(() => device.createBuffer(3 * 2 ** 30, 'huge')).toThrow(expect.objectContaining(refusal));
  expect(() => device.createBuffer(50_000_000, 'huge')).toThrow(expect.objectContaining(refusal));
  const before = device.stats.bytes;
  expect(() =>
    device.allOrNothing(() => {
      device.createBuffer(20_000_000, 'half');
      device.createBuffer(30_000_000, 'huge');
    }),
  ).toThrow(expect.objectContaining(refusal));
  expect(device.stats.bytes).toBe(before);
  await chain(device, 2).program.run();
  device.check();
});

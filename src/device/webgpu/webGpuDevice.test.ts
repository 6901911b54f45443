import { expect, test } from 'vitest';
import { defineKernel, dispatch, LINEAR_GROUP, linearGrid, read, write } from '../kernel.ts';
import { PaperDevice } from '../paperDevice.ts';
import { runOnDevice, testDevice, testValues } from '../testing.ts';
import { openDawn } from './dawn.ts';
import { cutIntoSubmits, SubmitClock } from './submitClock.ts';
import { WebGpuDevice } from './webGpuDevice.ts';

const axpy = defineKernel({
  name: 'test.axpy',
  buffers: { x: read('f32'), y: write('f32') },
  params: { count: 'u32', a: 'f32' },
  code: `${LINEAR_GROUP}
    @compute @workgroup_size(64)
    fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
      let i = linear_group(group) * 64u + lane;
      if (i < params.count) { y[i] += params.a * x[i]; }
    }`,
});

test('a dispatch reads its buffers and parameters by name', async () => {
  const x = testValues(1000);
  const out = await runOnDevice({ x, y: new Float32Array(1000).fill(1) }, ({ x, y }) => [
    dispatch(axpy, { x, y }, { count: 999, a: 2 }, linearGrid(Math.ceil(1000 / 64))),
  ]);
  expect(out.y[5]).toBeCloseTo(1 + 2 * x[5]!, 6);
  expect(out.y[999]).toBe(1);
});

test('replaying a program creates nothing', async () => {
  const device = await testDevice();
  const x = device.createFrom(testValues(64), 'x');
  const y = device.createBuffer(256, 'y');
  const program = device.record([dispatch(axpy, { x, y }, { count: 64, a: 1 }, [1, 1, 1])], 'axpy');
  await program.run();
  const before = { ...device.stats };
  for (let step = 0; step < 5; step++) await program.run();
  const after = { ...device.stats, submits: before.submits, longestSubmitMs: before.longestSubmitMs };
  expect(after).toEqual(before);
  const got = await device.downloadF32(y);
  expect(got[3]).toBeCloseTo(6 * testValues(64)[3]!, 5);
});

test('a buffer written and bound twice is refused', async () => {
  const device = await testDevice();
  const x = device.createBuffer(256, 'x');
  expect(() => device.record([dispatch(axpy, { x, y: x }, { count: 64, a: 1 }, [1, 1, 1])], 'bad')).toThrow(
    /bound more than once/,
  );
});

test('a kernel whose feature the device lacks runs as its fallback', async () => {
  const ahead = defineKernel({
    name: 'test.ahead',
    buffers: { x: read('f32'), y: write('f32') },
    params: { count: 'u32', a: 'f32' },
    enable: ['a_feature_that_no_device_has'],
    fallback: axpy,
    code: '@compute @workgroup_size(1) fn main() { this does not compile }',
  });
  const x = testValues(64);
  const out = await runOnDevice({ x, y: new Float32Array(64) }, ({ x, y }) => [
    dispatch(ahead, { x, y }, { count: 64, a: 2 }, [1, 1, 1]),
  ]);
  expect(out.y[5]).toBeCloseTo(2 * x[5]!, 6);
});

const places = defineKernel({
  name: 'test.places',
  buffers: { y: write('u32') },
  params: { width: 'u32' },
  code: `
    @compute @workgroup_size(2, 1, 1)
    fn main(
      @builtin(workgroup_id) group: vec3<u32>,
      @builtin(global_invocation_id) id: vec3<u32>,
      @builtin(num_workgroups) groups: vec3<u32>,
    ) {
      let at = (id.z * groups.y + id.y) * params.width + id.x;
      y[at] += 1u + group.x + 100u * group.y + 10000u * group.z + 1000000u * (groups.x + groups.y + groups.z);
    }`,
});

test('a dispatch that is cut into parts computes what it does as a whole', async () => {
  const grid = [5, 3, 2] as const;
  const run = async (device: WebGpuDevice) => {
    const y = device.createBuffer(4 * 60, 'y');
    device.run([dispatch(places, { y }, { width: 10 }, grid)]);
    return [...(await device.downloadU32(y))];
  };
  const whole = await WebGpuDevice.open(await openDawn());
  const parts = await WebGpuDevice.open(await openDawn(), { submitGroups: 4 });
  const expected = await run(whole);
  expect(expected[59]).toBe(1 + 4 + 200 + 10_000 + 10_000_000);
  expect(await run(parts)).toEqual(expected);
  expect(parts.stats.submits).toBeGreaterThan(whole.stats.submits + 3);
  for (const device of [whole, parts]) device.dispose();
});

test('submits are cut by what is known of their dispatches', () => {
  const step = (ms: number | undefined, grid: readonly [number, number, number] = [64, 1, 1], turns = 1) => ({
    grid,
    turns,
    cost: { ms, measured: false },
  });
  const cut = (...steps: ReturnType<typeof step>[]) =>
    cutIntoSubmits(steps, { software: true, groups: undefined }).map((parts) =>
      parts.map(({ base, grid, share }) => [base, grid, share]),
    );
  const all = (x: number) => [[0, 0, 0], [x, 1, 1], 1];
  expect(cut(step(25), step(30), step(7), step(0.5))).toEqual([
    [all(64), all(64)],
    [all(64), all(64)],
  ]);
  // What is left of a submit is filled with a part of the next dispatch.
  expect(cut(step(25), step(25), step(25), step(0.5))).toEqual([
    [all(64), all(64), [[0, 0, 0], [16, 1, 1], 1 / 4]],
    [[[16, 0, 0], [48, 1, 1], 3 / 4], all(64)],
  ]);
  expect(cut(step(1), step(undefined), step(undefined), step(1))).toEqual([
    [all(64)],
    [all(64)],
    [all(64)],
    [all(64)],
  ]);
  expect(cut(step(100, [3, 9, 1]))).toEqual([
    [[[0, 0, 0], [3, 5, 1], 5 / 9]],
    [[[0, 5, 0], [3, 4, 1], 4 / 9]],
  ]);
  expect(cut(step(undefined, [2048, 1, 1]))).toHaveLength(8);
  expect(cut(step(undefined, [2048, 1, 1], 256))).toHaveLength(32);
  expect(cut(step(undefined, [2048, 1, 1], 1e9))).toHaveLength(512);
  expect(cut(step(500, [1, 1, 2]))).toHaveLength(2);
  // Where the longest side is too short, the next is cut too.
  const wide = cut(step(undefined, [15, 21, 1], 12_288));
  expect(wide).toHaveLength(21 * 4);
  expect(wide.flat()[1]?.slice(0, 2)).toEqual([
    [4, 0, 0],
    [4, 1, 1],
  ]);
  const long = cut(step(1200, [4, 5, 1])).flat();
  expect(long).toHaveLength(20);
  expect(long.reduce((sum, part) => sum + Number(part[2]), 0)).toBeCloseTo(1);
});

test('programs are cut anew when costs are learnt and when a submit has become too long', async () => {
  const clock = new SubmitClock(() => undefined);
  const cost = clock.costOf('one');
  const part = {
    step: { grid: [1, 1, 1], turns: 1, cost },
    base: [0, 0, 0],
    grid: [1, 1, 1],
    share: 1,
  } as const;
  const before = clock.version;
  clock.learn([part], [50]);
  expect(clock.version).not.toBe(before);
  const learnt = clock.version;
  clock.submitted([part], Promise.resolve(undefined));
  await new Promise((resolve) => setTimeout(resolve, 5));
  expect(clock.version).toBe(learnt);
  clock.submitted([part], new Promise((resolve) => setTimeout(() => resolve(undefined), 300)));
  await new Promise((resolve) => setTimeout(resolve, 400));
  expect(clock.version).not.toBe(learnt);
  expect(cost.ms).toBeGreaterThan(200);
  // A submit of many such dispatches corrects what is known of them once.
  cost.ms = 10;
  const ten = Array.from({ length: 10 }, () => part);
  clock.submitted(ten, new Promise((resolve) => setTimeout(() => resolve(undefined), 300)));
  await new Promise((resolve) => setTimeout(resolve, 400));
  expect(cost.ms).toBeGreaterThan(20);
  expect(cost.ms).toBeLessThan(100);
});

const slow = defineKernel({
  name: 'test.slow',
  buffers: { y: write('f32') },
  params: { turns: 'u32' },
  code: `
    @compute @workgroup_size(1)
    fn main(@builtin(workgroup_id) group: vec3<u32>) {
      var x = f32(group.x);
      for (var turn = 0u; turn < params.turns; turn++) { x = fract(x * 1.618 + 0.123); }
      y[group.x] = x;
    }`,
});

test('a dispatch that takes long is run in several submits once it is known, with the same bits', async () => {
  const device = await WebGpuDevice.open(await openDawn());
  const groups = 1000;
  const y = device.createBuffer(4 * groups, 'y');
  const timed = async (turns: number) => {
    const program = device.record([dispatch(slow, { y }, { turns }, [groups, 1, 1])], 'slow');
    const started = performance.now();
    program.submit();
    await device.idle();
    return { program, ms: performance.now() - started };
  };
  // As many turns as take about a second here; the first time the kernel is compiled.
  const probe = await timed(20_000);
  const again = await timed(20_000);
  const turns = Math.ceil((20_000 * 1000) / Math.max(again.ms, 2));
  const { program } = await timed(turns);
  const first = await device.downloadU32(y);
  await program.run();
  await device.idle();
  device.stats.longestSubmitMs = 0;
  const [before, started] = [device.stats.submits, performance.now()];
  program.submit();
  await device.idle();
  const [submits, ms] = [device.stats.submits - before, performance.now() - started];
  // Whoever else uses the machine may make any of them longer.
  expect(submits).toBeGreaterThanOrEqual(3);
  expect(device.stats.longestSubmitMs).toBeLessThan(Math.max(200, 0.75 * ms));
  expect(await device.downloadU32(y)).toEqual(first);
  for (const one of [probe.program, again.program, program]) one.dispose();
  device.dispose();
});

test('memory is counted by what it is for, and never beyond what may be used', async () => {
  const limits = { totalBytes: 4000, bindingBytes: 2048 };
  const real = await WebGpuDevice.open(await openDawn(), { limits });
  for (const device of [real, new PaperDevice({ limits })]) {
    const x = device.createBuffer(1000, 'x', 'weights');
    const y = device.createBuffer(2500, 'y', 'optimizer');
    expect(() => device.createBuffer(501, 'z')).toThrow(/"z" of 504 B does not fit: 3.5 kB of the 4.0 kB/u);
    device.destroyBuffer(x);
    device.destroyBuffer(x);
    expect(device.stats).toMatchObject({ bytes: 2500, peakBytes: 3500 });
    expect(device.memory.parts).toMatchObject({ weights: 0, optimizer: 2500 });
    expect(device.memory.peakParts).toMatchObject({ weights: 1000, optimizer: 2500, scratch: 0 });
    const small = device.createBuffer(256, 'small');
    const both = dispatch(axpy, { x: small, y }, { count: 64, a: 1 }, [1, 1, 1]);
    expect(() => device.record([both], 'large')).toThrow(
      /"y" takes 2.5 kB but this adapter binds at most 2.0 kB/u,
    );
    expect(device.stats.bytes).toBe(2756);
    const fails = () =>
      device.allOrNothing(() => {
        device.createBuffer(100, 'kept?');
        throw new Error('no');
      });
    expect(fails).toThrow('no');
    if (device === real) expect(device.stats.bytes).toBe(2756);
    await device.settled();
  }
  real.dispose();
});

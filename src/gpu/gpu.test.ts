import { expect, test } from 'vitest';
import { defineKernel, dispatch, LINEAR_GROUP, linearGrid, read, write } from './kernel.ts';
import { runOnGpu, testGpu, testValues } from './testing.ts';

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
  const out = await runOnGpu({ x, y: new Float32Array(1000).fill(1) }, ({ x, y }) => [
    dispatch(axpy, { x, y }, { count: 999, a: 2 }, linearGrid(Math.ceil(1000 / 64))),
  ]);
  expect(out.y[5]).toBeCloseTo(1 + 2 * x[5]!, 6);
  expect(out.y[999]).toBe(1);
});

test('replaying a program creates nothing', async () => {
  const gpu = await testGpu();
  const x = gpu.createFrom(testValues(64), 'x');
  const y = gpu.createBuffer(256, 'y');
  const program = gpu.record([dispatch(axpy, { x, y }, { count: 64, a: 1 }, [1, 1, 1])], 'axpy');
  await program.run();
  const before = { ...gpu.stats };
  for (let step = 0; step < 5; step++) await program.run();
  expect({ ...gpu.stats, submits: 0 }).toEqual({ ...before, submits: 0 });
  const got = await gpu.downloadF32(y);
  expect(got[3]).toBeCloseTo(6 * testValues(64)[3]!, 5);
});

test('a buffer written and bound twice is refused', async () => {
  const gpu = await testGpu();
  const x = gpu.createBuffer(256, 'x');
  expect(() => gpu.record([dispatch(axpy, { x, y: x }, { count: 64, a: 1 }, [1, 1, 1])], 'bad')).toThrow(
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
    code: 'this does not compile',
  });
  const x = testValues(64);
  const out = await runOnGpu({ x, y: new Float32Array(64) }, ({ x, y }) => [
    dispatch(ahead, { x, y }, { count: 64, a: 2 }, [1, 1, 1]),
  ]);
  expect(out.y[5]).toBeCloseTo(2 * x[5]!, 6);
});

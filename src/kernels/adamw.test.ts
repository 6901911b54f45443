import { expect, test } from 'vitest';
import { runOnDevice, testDevice, testValues } from '../device/testing.ts';
import { type AdamwSettings, adamw, adamwHyper } from './adamw.ts';
import { adamwReference } from './reference/adamw.ts';
import { worstError } from './reference/compare.ts';

const settings = { learningRate: 1e-2, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.05 };

test.each([1, 33, 1025, 5003])('six steps over %i elements, with one recording', async (count) => {
  const device = await testDevice();
  const start = testValues(count, 3);
  const buffers = {
    w: device.createFrom(start, 'w'),
    g: device.createBuffer(count * 4, 'g'),
    m: device.createBuffer(count * 4, 'm'),
    v: device.createBuffer(count * 4, 'v'),
    hyper: device.createBuffer(32, 'hyper'),
    gradScale: device.createFrom(Float32Array.of(0.5), 'scale'),
  };
  const program = device.record([adamw(buffers, count)], 'adamw');
  const state = {
    w: Float64Array.from(start),
    m: new Float64Array(count),
    v: new Float64Array(count),
  };
  for (let step = 1; step <= 6; step++) {
    const now: AdamwSettings = { ...settings, step, learningRate: settings.learningRate / step };
    const g = testValues(count, step, 10 ** (step - 4));
    device.upload(buffers.g, g);
    device.upload(buffers.hyper, adamwHyper(now));
    program.submit();
    adamwReference(state, g, now, 0.5);
  }
  expect(worstError(await device.downloadF32(buffers.w, count), state.w)).toBeLessThan(1e-6);
  expect(worstError(await device.downloadF32(buffers.m, count), state.m)).toBeLessThan(1e-6);
  expect(worstError(await device.downloadF32(buffers.v, count), state.v)).toBeLessThan(1e-6);
  program.dispose();
  for (const buffer of Object.values(buffers)) device.destroyBuffer(buffer);
});

test("one step of PyTorch's AdamW", async () => {
  // twelve elements of a norm weight of a recorded Llama: weight, gradient, weight after one step of
  // torch 2.13 (lr 1e-3, betas 0.9 and 0.999, eps 1e-8, weight decay 0.01)
  const w = Float32Array.of(
    0.931487739,
    0.917092323,
    1.07588243,
    1.07999551,
    0.981330216,
    0.929706275,
    1.17044806,
    0.757601321,
    0.974119365,
    0.886799991,
    1.22189355,
    1.22026658,
  );
  const g = Float32Array.of(
    -0.0159279499,
    0.00431724824,
    0.0228139404,
    -0.0206636768,
    -0.00764449127,
    0.0354839265,
    -0.0149194878,
    0.00749681983,
    0.0129691456,
    -0.044496946,
    -0.0657191426,
    0.000474922825,
  );
  const want = [
    0.932478428, 0.916083157, 1.07487166, 1.08098471, 0.982320368, 0.92869699, 1.17143643, 0.756593764,
    0.973109603, 0.887791097, 1.22288132, 1.21925437,
  ];
  const hyper = adamwHyper({ ...settings, learningRate: 1e-3, weightDecay: 0.01, step: 1 });
  const zeros = new Float32Array(12);
  const out = await runOnDevice({ w, g, m: zeros, v: zeros, hyper, gradScale: Float32Array.of(1) }, (b) => [
    adamw(b, 12),
  ]);
  expect(worstError(out.w, want)).toBeLessThan(2e-7);
});

test('a factor of 0 changes nothing, not even with a gradient that is not a number', async () => {
  const w = testValues(40, 1);
  const m = testValues(40, 2);
  const v = testValues(40, 3).map(Math.abs);
  const hyper = adamwHyper({ ...settings, step: 3 });
  const g = new Float32Array(40).fill(Number.NaN);
  const out = await runOnDevice({ w, g, m, v, hyper, gradScale: Float32Array.of(0) }, (b) => [adamw(b, 40)]);
  expect(out.w).toEqual(w);
  expect(out.m).toEqual(m);
  expect(out.v).toEqual(v);
});

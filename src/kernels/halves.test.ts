import { expect, test } from 'vitest';
import { runOnDevice } from '../device/testing.ts';
import { floatToHalf, halfToFloat } from '../util/halfFloat.ts';
import { widenHalves } from './halves.ts';

test.each([1, 2, 1025])('%i half floats', async (count) => {
  const halves = Uint16Array.from({ length: count + (count % 2) }, (_, i) => floatToHalf(i * 0.37 - 99));
  const { y } = await runOnDevice(
    { x: new Uint32Array(halves.buffer), y: new Float32Array(count) },
    ({ x, y: out }) => [widenHalves({ x, y: out }, count)],
  );
  expect([...y]).toEqual(Array.from(halves.subarray(0, count), halfToFloat));
});

import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Dispatch } from '../device/kernel.ts';
import { testDevice } from '../device/testing.ts';
import { scaledSum } from '../kernels/scaledSum.ts';
import { Gradients, Graph, tensorIn } from './graph.ts';
import { layOut, plan, SlotPool } from './plan.ts';
import type { Tensor } from './tensor.ts';

const { kernel } = scaledSum({ x: 0, y: 0 }, 1, 2);

function chain(length: number): { graph: Graph; last: Tensor } {
  const graph = new Graph('software');
  let last = graph.tensor('0', [64]);
  for (let i = 1; i <= length; i++) {
    const next = graph.tensor(`${i}`, [64]);
    graph.emit(scaledSum({ x: last, y: next }, 1, 2));
    last = next;
  }
  return { graph, last };
}

test('a chain needs two slots, however long it is', () => {
  const { graph } = chain(20);
  const layout = layOut(graph.dispatches);
  expect(layout.slots).toEqual([256, 256]);
  expect(layout.lowerBoundBytes).toBe(512);
});

test('a planned chain computes, and a kept value is still there', async () => {
  const device = await testDevice();
  const { graph, last } = chain(9);
  const first = device.createFrom(Float32Array.of(5), 'first');
  const [head] = graph.dispatches;
  const start = tensorIn(first, 'start', [1]);
  graph.dispatches[0] = { ...head!, buffers: { ...head!.buffers, x: start } };
  const pool = new SlotPool(device);
  const planned = plan(device, graph.dispatches, { label: 'chain', pool, keep: [last] });
  planned.program.submit();
  const [value] = await device.downloadF32(planned.bufferOf(last), 1);
  expect(value).toBe(5 * 2 ** 9);
  planned.program.dispose();
  pool.dispose();
});

test('values that are alive together never share a slot, and little is wasted', () => {
  const shapes = fc.array(fc.tuple(fc.integer({ min: 1, max: 400 }), fc.integer({ min: 1, max: 9 })), {
    minLength: 1,
    maxLength: 60,
  });
  fc.assert(
    fc.property(shapes, (values) => {
      const graph = new Graph('software');
      const tensors = values.map(([size], i) => graph.tensor(`${i}`, [size]));
      const dispatches: Dispatch<Tensor>[] = [];
      values.forEach(([, span], i) => {
        const used = tensors[i]!;
        for (let later = 0; later < span; later++) {
          const at = i + later;
          const old = dispatches[at];
          dispatches[at] = {
            kernel,
            params: {},
            grid: [1, 1, 1],
            buffers: { ...old?.buffers, [`t${i}`]: used },
          };
        }
      });
      const filled = Array.from(
        dispatches,
        (one) => one ?? { kernel, params: {}, grid: [1, 1, 1] as const, buffers: {} },
      );
      const layout = layOut(filled);
      for (const { buffers } of filled) {
        const slots = Object.values(buffers).map((tensor) => layout.slotOf.get(tensor));
        expect(new Set(slots).size).toBe(slots.length);
      }
      for (const [tensor, slot] of layout.slotOf)
        expect(layout.slots[slot]).toBeGreaterThanOrEqual(tensor.bytes);
      const total = layout.slots.reduce((sum, bytes) => sum + bytes, 0);
      expect(total).toBeGreaterThanOrEqual(layout.lowerBoundBytes);
    }),
    { numRuns: 200 },
  );
});

test('a gradient shared by two values is copied before the first of them changes it', () => {
  const graph = new Graph('software');
  const value = (name: string) => graph.tensor(name, [4], true);
  const [sum, a, b] = [value('sum'), value('a'), value('b')];
  const gradients = new Gradients(graph);
  const seed = gradients.seed(sum);
  gradients.pass(a, gradients.take(sum));
  gradients.pass(b, seed);
  const mine = gradients.own(a);
  expect(mine).not.toBe(seed);
  expect(graph.dispatches.map(({ kernel }) => kernel.name)).toEqual(['elementwise.copy']);
  expect(gradients.own(b)).toBe(seed);
});

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { WasmMemory } from './wasmMemory.ts';

const PAGE = 65_536;
const fresh = (pages: number, shared = false) => {
  const memory = WasmMemory.open(shared, [pages]);
  memory.reserve(1000);
  return memory;
};

test('ranges are aligned, zero, above what is reserved, and apart from each other', () => {
  const memory = fresh(4);
  const [a, b] = [memory.take(1, 'a'), memory.take(300, 'b')];
  expect(a).toBeGreaterThanOrEqual(1000);
  expect(a % 256).toBe(0);
  expect(b - a).toBe(256);
  memory.bytes(b, 300).fill(7);
  memory.give(b);
  const c = memory.take(200, 'c');
  expect(c).toBe(b);
  expect(memory.bytes(c, 256).every((byte) => byte === 0)).toBe(true);
});

test.each([
  [0, 1, 2],
  [0, 2, 1],
  [1, 0, 2],
  [2, 1, 0],
])('neighbours are joined when they come back in the order %i, %i, %i', (...order) => {
  const memory = fresh(8);
  const at = [0, 1, 2].map((index) => memory.take(1000, `${index}`));
  const guard = memory.take(1000, 'guard');
  for (const index of order) memory.give(at[index]!);
  expect(memory.take(3 * 1024, 'all')).toBe(at[0]);
  expect(guard).toBeGreaterThan(at[0]!);
});

test('a range at the end grows where it is, and a range that is given back twice counts once', () => {
  const memory = fresh(64);
  const first = memory.take(PAGE, 'first');
  memory.bytes(first, PAGE).fill(5);
  const second = memory.take(PAGE, 'second');
  memory.bytes(second, PAGE).fill(9);
  memory.give(second);
  memory.give(second);
  memory.give(second + 256);
  const larger = memory.take(10 * PAGE, 'larger');
  expect(larger).toBe(second);
  expect(memory.bytes(larger, 10 * PAGE).every((byte) => byte === 0)).toBe(true);
  expect(memory.bytes(first, PAGE).every((byte) => byte === 5)).toBe(true);
  expect(memory.memory.buffer.byteLength).toBeLessThan(14 * PAGE);
});

test.each([false, true])(
  'what does not fit is refused by name, and what does still fits (shared: %s)',
  (shared) => {
    const memory = fresh(4, shared);
    const kept = memory.take(2 * PAGE, 'kept');
    expect(() => memory.take(3 * PAGE, 'too much')).toThrow(
      expect.objectContaining({
        code: 'out-of-memory',
        message: expect.stringMatching(
          /no room for "too much" \(197 kB in one piece\).*holds 262 kB at most and 131 kB are in use/u,
        ),
      }),
    );
    expect(memory.take(PAGE, 'little')).toBe(kept + 2 * PAGE);
  },
);

test('a browser that grants no memory is told in a sentence; one that grants less gives less', () => {
  const { Memory } = WebAssembly;
  const granting = (most: number) => {
    WebAssembly.Memory = class extends Memory {
      constructor(asked: WebAssembly.MemoryDescriptor) {
        if ((asked.maximum ?? 0) > most) throw new RangeError('could not allocate memory');
        super(asked);
      }
    };
  };
  try {
    granting(16_384);
    expect(WasmMemory.open(true).maximumBytes).toBe(2 ** 30);
    granting(0);
    expect(() => WasmMemory.open(true)).toThrow(expect.objectContaining({ code: 'out-of-memory' }));
  } finally {
    WebAssembly.Memory = Memory;
  }
});

test('a machine that has no more is told like a limit, and nothing is lost by it', () => {
  const memory = fresh(1000);
  const first = memory.take(PAGE, 'first');
  const { grow } = memory.memory;
  memory.memory.grow = () => {
    throw new RangeError('failed to grow memory');
  };
  expect(() => memory.take(50 * PAGE, 'huge')).toThrow(
    expect.objectContaining({ code: 'out-of-memory', message: expect.stringContaining('"huge"') }),
  );
  memory.give(first);
  expect(memory.take(PAGE, 'again')).toBe(first);
  memory.memory.grow = grow;
  expect(memory.take(50 * PAGE, 'huge')).toBeGreaterThan(first);
});

type Step = { readonly take: number } | { readonly give: number };
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ take: fc.integer({ min: 0, max: 40_000 }) }) },
  { weight: 2, arbitrary: fc.record({ give: fc.nat(50) }) },
);

test('whatever is taken and given back, contents stay, ranges keep apart, and nothing is lost', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const pages = 8;
      const memory = fresh(pages);
      const held: { at: number; size: number; mark: number }[] = [];
      const room = () => {
        const used = held.map(({ at, size }) => [at, at + size] as const).sort(([a], [b]) => a - b);
        let from = 1024;
        let most = 0;
        for (const [begin, end] of [...used, [pages * PAGE, 0] as const]) {
          expect(begin).toBeGreaterThanOrEqual(from);
          most = Math.max(most, begin - from);
          from = end;
        }
        return most;
      };
      steps.forEach((one, index) => {
        if ('give' in one) {
          const [gone] = held.splice(one.give % Math.max(1, held.length), 1);
          if (!gone) return;
          expect(memory.bytes(gone.at, gone.size).every((byte) => byte === gone.mark)).toBe(true);
          memory.give(gone.at);
          return;
        }
        const size = Math.ceil(Math.max(1, one.take) / 256) * 256;
        if (size > room()) {
          expect(() => memory.take(one.take, 'more')).toThrow(/no room/u);
          return;
        }
        const at = memory.take(one.take, 'one');
        const bytes = memory.bytes(at, size);
        expect(bytes.every((byte) => byte === 0)).toBe(true);
        const mark = 1 + (index % 255);
        bytes.fill(mark);
        held.push({ at, size, mark });
        room();
      });
      for (const { at } of held) memory.give(at);
      expect(memory.take(pages * PAGE - 1024, 'everything')).toBe(1024);
    }),
    { numRuns: 60 },
  );
});

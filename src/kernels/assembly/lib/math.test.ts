import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';

const NAMES = ['exp4', 'sigmoid4', 'tanh4', 'normal4'] as const;
type Name = (typeof NAMES)[number];

/** Compiles the functions alone, each as a loop over an array of a multiple of four numbers. */
async function compile(): Promise<Record<Name, (x: Float32Array) => Float32Array>> {
  const { default: compiler } = await import('assemblyscript/asc');
  const loops = NAMES.map(
    (name) => `export function ${name}Loop(x: usize, count: u32): void {
      for (let i: u32 = 0; i < count; i += 4) v128.store(x + (i << 2), ${name}(v128.load(x + (i << 2))));
    }`,
  );
  const math = readFileSync(new URL('./math.ts', import.meta.url), 'utf8');
  const files: Record<string, string> = {
    'loops.ts': `import { ${NAMES.join(', ')} } from './math';\n${loops.join('\n')}`,
    'math.ts': math,
  };
  let binary: Uint8Array<ArrayBuffer> | undefined;
  const { error, stderr } = await compiler.main(
    [
      'loops.ts',
      '--outFile',
      'loops.wasm',
      '-O3',
      '--noAssert',
      '--runtime',
      'stub',
      '--enable',
      'simd',
    ].concat(['--initialMemory', '512']),
    {
      readFile: (name: string) => files[name] ?? null,
      writeFile: (_: string, contents: Uint8Array | string) => {
        if (typeof contents !== 'string') binary = new Uint8Array(contents);
      },
      listFiles: () => [],
    },
  );
  if (error || !binary) throw new Error(String(stderr));
  const { instance } = await WebAssembly.instantiate(binary, { env: { abort: () => undefined } });
  const exports = instance.exports as Record<string, (x: number, count: number) => void> & {
    memory: WebAssembly.Memory;
  };
  const run = (name: Name) => (x: Float32Array) => {
    const values = new Float32Array(exports.memory.buffer, 65536, x.length);
    values.set(x);
    exports[`${name}Loop`]!(65536, x.length);
    return values.slice();
  };
  return Object.fromEntries(NAMES.map((name) => [name, run(name)])) as ReturnType<typeof Object.fromEntries>;
}

/** Every `stride`-th f32 of both signs between two sizes, in a multiple of four. */
function sweep(least: number, most: number, stride: number): Float32Array {
  const [from = 0, to = 0] = new Uint32Array(Float32Array.of(least, most).buffer);
  const bits: number[] = [];
  for (let word = from; word <= to; word += stride) bits.push(word, word + 0x8000_0000);
  while (bits.length % 4 !== 0) bits.push(from);
  return new Float32Array(Uint32Array.from(bits).buffer);
}

/** The largest distance to what is expected, in units of the last place of f32; the least number counts as one below it. */
function worst(x: Float32Array, got: Float32Array, expected: (x: number) => number): number {
  let most = 0;
  x.forEach((value, i) => {
    const right = expected(value);
    if (Object.is(Math.fround(right), got[i])) return;
    const unit = 2 ** Math.max(-149, Math.floor(Math.log2(Math.abs(right))) - 23);
    most = Math.max(most, Math.abs((got[i] ?? Number.NaN) - right) / unit);
  });
  return most;
}

describe('functions of four numbers', () => {
  let math: Awaited<ReturnType<typeof compile>>;
  beforeAll(async () => {
    math = await compile();
  });

  test('exp over the whole range, down to the least number', () => {
    const x = sweep(1e-8, 110, 397);
    expect(worst(x, math.exp4(x), Math.exp)).toBeLessThan(1.01);
  });

  test('exp of what is not finite, and beyond the range', () => {
    const { NaN: nan, POSITIVE_INFINITY: inf } = Number;
    const got = math.exp4(
      Float32Array.of(inf, -inf, nan, 0, 88.8, -104.5, 3e38, -3e38, -0, 1e-40, 88.7, -103.9),
    );
    expect([...got.subarray(0, 10)]).toEqual([inf, 0, nan, 1, inf, 0, inf, 0, 1, 1]);
    expect([...got.subarray(10)]).toEqual([Math.fround(Math.exp(Math.fround(88.7))), 2 ** -149]);
  });

  test('sigmoid', () => {
    const x = sweep(1e-8, 79, 997);
    expect(worst(x, math.sigmoid4(x), (z) => 1 / (1 + Math.exp(-z)))).toBeLessThan(3);
    const edges = math.sigmoid4(
      Float32Array.of(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 100),
    );
    expect([...edges]).toEqual([Number.NaN, 1, Math.fround(1 / (1 + Math.exp(80))), 1]);
  });

  test('tanh', () => {
    const x = sweep(1e-12, 20, 997);
    expect(worst(x, math.tanh4(x), Math.tanh)).toBeLessThan(3);
    const edges = math.tanh4(
      Float32Array.of(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0),
    );
    expect([...edges]).toEqual([Number.NaN, 1, -1, -0]);
  });

  test('the normal distribution', () => {
    const { normal4 } = math;
    // The rounding of x² / 2 alone takes as many units as that has.
    for (const [size, units] of [
      [1, 6],
      [4, 12],
      [9, 42],
    ] as const) {
      const x = sweep(1e-6, size, 9973);
      expect(worst(x, normal4(x), normal)).toBeLessThan(units);
    }
    expect([...normal4(Float32Array.of(Number.NaN, 0, 1e4, -1e4))]).toEqual([Number.NaN, 0.5, 1, 0]);
  });
});

/** Φ by its continued fraction and its series: what is measured uses neither. */
function normal(x: number): number {
  const z = Math.abs(x);
  const density = Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
  if (z > 3) {
    let fraction = z;
    for (let k = 120; k > 0; k--) fraction = z + k / fraction;
    return x < 0 ? density / fraction : 1 - density / fraction;
  }
  let term = z;
  let sum = z;
  for (let k = 1; k < 120; k++) {
    term *= (z * z) / (2 * k + 1);
    sum += term;
  }
  return x < 0 ? 0.5 - density * sum : 0.5 + density * sum;
}

import { describe, expect, test } from 'vitest';
import { expectedRow, MATMULS, matmulInput, matmulWeights, packedWeights } from './matmulCase.ts';
import { provideNavigatorGpu } from './navigatorGpu.ts';
import { matmulModel } from './onnxModel.ts';
import { openDevice } from './ourDevice.ts';
import { ourEngine } from './ours.ts';
import { ratiosOf, stepTable } from './report.ts';
import { WEBGPU } from './target.ts';
import { batchOf, initialValues, parametersOf, SMALL, SMALL_LOSSES, stepFlops } from './trainCase.ts';

describe('what all engines start from', () => {
  // Recorded from the same formulas in NumPy.
  test('weights and tokens', () => {
    const [embedding, norm, query] = parametersOf(SMALL);
    expect(embedding?.shape).toStrictEqual([2048, 256]);
    expect([...initialValues(embedding!, 0).slice(0, 3)]).toStrictEqual([
      -0.014139531180262566, 0.016808608546853065, 0.02856401912868023,
    ]);
    expect([...initialValues(query!, 2).slice(-2)]).toStrictEqual([
      -0.025707324966788292, -0.027642464265227318,
    ]);
    expect(new Set(initialValues(norm!, 1))).toStrictEqual(new Set([1]));
    const tokens = [389, 1275, 249, 476, 1380];
    const { inputs, targets } = batchOf(SMALL);
    expect([...inputs.slice(0, 5)]).toStrictEqual(tokens);
    expect([...targets.slice(0, 4)]).toStrictEqual(tokens.slice(1));
    expect([inputs.length, targets.length]).toStrictEqual([1024, 1024]);
  });

  test('the work of a step', () => {
    expect(stepFlops(SMALL) / 1e9).toBeCloseTo(25.87, 2);
  });

  test('a 4-bit case means the same packed and unpacked', () => {
    const small = { name: '', rows: 1, outputs: 3, inputs: 64, weights: 'q4' as const };
    const { nibbles, scales } = packedWeights(small);
    const weights = matmulWeights(small);
    expect(weights[65]).toBe(Math.fround(((nibbles[32]! >> 4) - 8) * scales[2]!));
    const x = matmulInput(small);
    const sum = weights.slice(64, 128).reduce((total, weight, index) => total + weight * x[index]!, 0);
    expect(expectedRow(small)[1]).toBeCloseTo(sum, 5);
  });

  test('an ONNX model holds its weights', () => {
    const small = { name: '', rows: 2, outputs: 32, inputs: 64, weights: 'q4' as const };
    const text = Buffer.from(matmulModel(small)).toString('latin1');
    expect(text).toContain('MatMulNBits');
    expect(text).toContain(Buffer.from(packedWeights(small).nibbles).toString('latin1'));
  });
});

describe('our engine', () => {
  test('gives the recorded losses of the train step, 1e-4', async () => {
    await provideNavigatorGpu();
    const engine = ourEngine(await openDevice(WEBGPU));
    const stepper = await engine.openStep?.(SMALL);
    for (const expected of SMALL_LOSSES) {
      expect(Math.abs((await stepper!.step()) - expected)).toBeLessThan(1e-4);
    }
    expect(stepper?.counts).toMatchObject({ bindGroups: 0, buffersMade: 0 });
  });

  test('multiplies as in double precision', async () => {
    const engine = ourEngine(await openDevice(WEBGPU));
    for (const matmulCase of MATMULS.filter(({ rows }) => rows === 512)) {
      const row = await (await engine.openMatmul!(matmulCase)).firstRow();
      const expected = expectedRow(matmulCase);
      const largest = Math.max(...expected.map(Math.abs));
      const error = Math.max(...expected.map((value, index) => Math.abs(value - row[index]!)));
      expect(error / largest).toBeLessThan(1e-4);
    }
  });
});

test('ratios are the time of a peer over ours', () => {
  const results = [
    { engine: 'alloy', ms: 2 },
    { engine: 'other', ms: 5 },
  ];
  expect(ratiosOf(results, ({ ms }) => ms)).toStrictEqual({ other: 2.5 });
  expect(ratiosOf(results.slice(1), ({ ms }) => ms)).toStrictEqual({});
  const step = { firstMs: 1, bestMs: 1, gflops: 1, losses: [7.5], counts: {} };
  const table = stepTable({
    name: 'small',
    failures: [],
    results: [
      { ...step, engine: 'alloy', medianMs: 2 },
      { ...step, engine: 'other', medianMs: 5 },
    ],
  });
  expect(table.split('\n').map((line) => /\d\.\d\dx/.exec(line)?.[0])).toStrictEqual([
    undefined,
    undefined,
    '2.50x',
  ]);
});

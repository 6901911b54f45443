import { describe, expect, test } from 'vitest';
import { runOnDevice, testDevice, testValues } from '../device/testing.ts';
import { advance } from './lossRing.ts';
import { rowReference } from './reference/rows.ts';
import { greedyToken, greedyTokenBytes, type SamplingSettings, sampleToken } from './sampling.ts';

describe('greedy', () => {
  test.each([
    [1, 1],
    [3, 7],
    [5, 4099],
    [2, 151_936],
  ])('%i rows of %i logits', async (rows, vocabulary) => {
    const logits = testValues(rows * vocabulary, rows, 20);
    const stride = 6;
    const out = await runOnDevice(
      {
        logits,
        partials: new Float32Array(greedyTokenBytes(rows) / 4).fill(Number.NaN),
        state: Uint32Array.of(0, 3),
        tokens: new Uint32Array(rows * stride).fill(99),
      },
      (b) => greedyToken(b, { rows, vocabulary }, { slot: 1, offset: 1, stride }),
    );
    for (let row = 0; row < rows; row++) {
      const { best } = rowReference(logits.subarray(row * vocabulary, (row + 1) * vocabulary));
      const got = [...out.bits('tokens').subarray(row * stride, (row + 1) * stride)];
      expect(got).toEqual([99, 99, 99, 99, best, 99]);
    }
  });

  test('the lowest of equal ids, never NaN, never past the end', async () => {
    const vocabulary = 9000;
    const logits = new Float32Array(vocabulary).fill(-7);
    for (const at of [8800, 4500, 4564, 70]) logits[at] = -2;
    logits[5] = Number.NaN;
    const device = await testDevice();
    const buffers = {
      logits: device.createFrom(logits, 'logits'),
      partials: device.createBuffer(greedyTokenBytes(1), 'partials'),
      state: device.createFrom(Uint32Array.of(1), 'state'),
      tokens: device.createFrom(new Uint32Array(5), 'tokens'),
    };
    const step = [
      ...greedyToken(buffers, { rows: 1, vocabulary }, { slot: 0, offset: 0, stride: 3 }),
      advance({ state: buffers.state }, 0),
    ];
    device.run([...step, ...step, ...step]);
    expect([...(await device.downloadU32(buffers.tokens, 5))]).toEqual([0, 70, 70, 0, 0]);
    for (const buffer of Object.values(buffers)) device.destroyBuffer(buffer);
  });
});

describe('sampling on the host', () => {
  const ids = [11, 22, 33, 44, 0xffff_ffff];
  const logProbs = [Math.log(0.5), Math.log(0.25), Math.log(0.15), Math.log(0.05), -3e38];
  const plain: SamplingSettings = { temperature: 1, topK: 0, topP: 1, seed: 9, counter: 0 };

  function shares(settings: Partial<SamplingSettings>): number[] {
    const counts = new Map(ids.map((id) => [id, 0]));
    const draws = 20_000;
    for (let counter = 0; counter < draws; counter++) {
      const id = sampleToken(ids, logProbs, { ...plain, ...settings, counter });
      counts.set(id, (counts.get(id) ?? 0) + 1);
    }
    return [...counts.values()].map((count) => count / draws);
  }

  function expectShares(settings: Partial<SamplingSettings>, weights: number[]): void {
    const total = weights.reduce((a, b) => a + b, 0);
    shares(settings).forEach((share, i) => {
      const want = (weights[i] ?? 0) / total;
      if (want === 0) expect(share).toBe(0);
      else expect(Math.abs(share - want)).toBeLessThan(0.015);
    });
  }

  test('shares follow the temperature', () => {
    expectShares({}, [0.5, 0.25, 0.15, 0.05]);
    expectShares({ temperature: 2 }, [0.5, 0.25, 0.15, 0.05].map(Math.sqrt));
    expectShares({ temperature: 0 }, [1]);
    expectShares({ temperature: 1e-3 }, [1]);
  });

  test('the K best, and the shortest nucleus that reaches its share', () => {
    expectShares({ topK: 2 }, [0.5, 0.25]);
    expectShares({ topK: 100 }, [0.5, 0.25, 0.15, 0.05]);
    expectShares({ topP: 0.5 }, [1]);
    expectShares({ topP: 0.55 }, [0.5, 0.25]);
    expectShares({ topP: 0.9 }, [0.5, 0.25, 0.15]);
    expectShares({ topP: 0 }, [1]);
    // among the two best the first holds two thirds
    expectShares({ topK: 2, topP: 0.66 }, [1]);
  });

  test('the draw depends on seed and counter alone', () => {
    const draw = (seed: number, counter: number) => sampleToken(ids, logProbs, { ...plain, seed, counter });
    const run = (seed: number) => Array.from({ length: 40 }, (_, counter) => draw(seed, counter)).join();
    expect(run(1)).toBe(run(1));
    expect(run(1)).not.toBe(run(2));
  });

  test('a row without a finite logit is an error', () => {
    expect(() => sampleToken([1], [Number.NaN], plain)).toThrow(/no finite logit/);
  });
});

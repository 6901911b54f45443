import { describe, expect, test } from 'vitest';
import { AlloyError } from '../../util/errors.ts';
import { Attempts, askedWaitMs, PATIENCE } from './attempts.ts';

const failure = new AlloyError('no-network', 'it failed');

function attempts(endpoints: number) {
  const waits: number[] = [];
  const sleep = async (ms: number) => void waits.push(ms);
  return { waits, tries: new Attempts(endpoints, { ...PATIENCE, rounds: 4, random: () => 1, sleep }, {}) };
}

/** How often something can fail before it is enough. */
async function failures(tries: Attempts, askedMs?: number): Promise<number> {
  for (let count = 1; ; count++) {
    try {
      await tries.failed(failure, askedMs);
    } catch (error) {
      expect(error).toBe(failure);
      return count;
    }
  }
}

describe('Attempts', () => {
  test('pauses double, and end', async () => {
    const { tries, waits } = attempts(1);
    expect(await failures(tries)).toBe(4);
    expect(waits).toEqual([400, 800, 1600]);
  });

  test('what comes makes them start anew, and the first pause short', async () => {
    const { tries, waits } = attempts(1);
    await tries.failed(failure);
    tries.progress();
    expect(await failures(tries)).toBe(4);
    expect(waits).toEqual([400, 100, 800, 1600]);
  });

  test('a pause that is asked for is kept; one that is too long is not waited for', async () => {
    const { tries, waits } = attempts(1);
    await tries.failed(failure, 5000);
    expect(waits).toEqual([5040]);
    await expect(tries.failed(failure, 3_600_000)).rejects.toBe(failure);
  });

  test('other endpoints are asked at once, those that refuse no more', async () => {
    const { tries, waits } = attempts(3);
    await tries.failed(failure, 9000);
    expect(tries.endpoint).toBe(1);
    tries.refused(new AlloyError('missing-file', 'first'));
    expect(tries.endpoint).toBe(2);
    expect(waits).toEqual([]);
    await tries.failed(failure);
    expect([tries.endpoint, waits]).toEqual([0, [9040]]);
    tries.refused(new AlloyError('missing-file', 'second'));
    expect(() => tries.refused(new AlloyError('missing-file', 'third'))).toThrow('first');
  });

  test('endpoints can be left out', () => {
    const { tries } = attempts(3);
    tries.leaveOut([0, 1]);
    expect(tries.endpoint).toBe(2);
  });

  test('a stop ends a pause', async () => {
    const abort = new AbortController();
    const waiting = PATIENCE.sleep(60_000, abort.signal);
    abort.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'cancelled' });
    await expect(PATIENCE.sleep(60_000, abort.signal)).rejects.toMatchObject({ code: 'cancelled' });
    await PATIENCE.sleep(1, undefined);
  });
});

test.each<[Record<string, string>, number]>([
  [{}, 0],
  [{ 'Retry-After': '12' }, 12_000],
  [{ 'Retry-After': ' 1.5 ' }, 1500],
  [{ 'Retry-After': 'Mon, 23 Nov 2026 12:00:30 GMT' }, 30_000],
  [{ 'Retry-After': 'Mon, 23 Nov 2026 11:00:00 GMT' }, 0],
  [{ 'Retry-After': 'soon' }, 0],
  [{ RateLimit: '"api";r=0;t=55' }, 55_000],
])('%j asks to wait %d ms', (headers, ms) => {
  expect(askedWaitMs(new Headers(headers), Date.UTC(2026, 10, 23, 12))).toBe(ms);
});

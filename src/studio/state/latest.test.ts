import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { createLatest } from './latest.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** A job whose runs end when the test says so. */
function setUp(pauseMs: number) {
  const open: ((value: string) => void)[] = [];
  const accepted: string[] = [];
  const failures: unknown[] = [];
  const latest = createLatest(
    () => new Promise<string>((resolve) => open.push(resolve)),
    (value) => accepted.push(value),
    (error) => failures.push(error),
    pauseMs,
  );
  return { latest, open, accepted, failures };
}

describe('createLatest', () => {
  test('waits for quiet, and asks once for many requests', async () => {
    const { latest, open, accepted } = setUp(120);
    latest.request();
    await vi.advanceTimersByTimeAsync(119);
    latest.request();
    await vi.advanceTimersByTimeAsync(119);
    expect(open).toHaveLength(0);
    await vi.advanceTimersByTimeAsync(1);
    expect(open).toHaveLength(1);
    open[0]!('a');
    await vi.advanceTimersByTimeAsync(0);
    expect(accepted).toEqual(['a']);
  });

  test('drops a result that a newer request has overtaken, then runs for that one', async () => {
    const { latest, open, accepted } = setUp(0);
    latest.request();
    latest.request();
    latest.request();
    expect(open).toHaveLength(1);
    open[0]!('old');
    await vi.advanceTimersByTimeAsync(0);
    expect(accepted).toEqual([]);
    expect(open).toHaveLength(2);
    open[1]!('new');
    await vi.advanceTimersByTimeAsync(0);
    expect(accepted).toEqual(['new']);
    expect(open).toHaveLength(2);
  });

  test('a request whose pause ends during a run is not forgotten', async () => {
    const { latest, open, accepted } = setUp(50);
    latest.request();
    await vi.advanceTimersByTimeAsync(50);
    latest.request();
    await vi.advanceTimersByTimeAsync(50);
    expect(open).toHaveLength(1);
    open[0]!('old');
    await vi.advanceTimersByTimeAsync(0);
    expect(open).toHaveLength(2);
    open[1]!('new');
    await vi.advanceTimersByTimeAsync(0);
    expect(accepted).toEqual(['new']);
  });

  test('cancel drops what waits and what is in flight', async () => {
    const { latest, open, accepted } = setUp(10);
    latest.request();
    await vi.advanceTimersByTimeAsync(10);
    latest.cancel();
    open[0]!('late');
    await vi.advanceTimersByTimeAsync(100);
    expect(accepted).toEqual([]);
    expect(open).toHaveLength(1);
  });

  test('reports a failure only while it is current', async () => {
    const failures: unknown[] = [];
    let fail: (error: unknown) => void = () => {};
    const latest = createLatest(
      () => new Promise<never>((_, reject) => (fail = reject)),
      () => {},
      (error) => failures.push(error),
    );
    latest.request();
    const failFirst = fail;
    latest.request();
    failFirst('stale');
    await vi.advanceTimersByTimeAsync(0);
    expect(failures).toEqual([]);
    fail('current');
    await vi.advanceTimersByTimeAsync(0);
    expect(failures).toEqual(['current']);
  });
});

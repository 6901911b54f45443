import { describe, expect, test } from 'vitest';
import { Progress, timeText } from './progress.ts';
import { fakeTerminal } from './testing.ts';

function clocked(screen: boolean) {
  const terminal = { ...fakeTerminal('/'), screen, columns: 40 };
  let now = 0;
  const progress = new Progress(terminal, false, () => now);
  return { terminal, progress, wait: (ms: number) => (now += ms) };
}

describe('without a screen', () => {
  test('a short job gets one line', () => {
    const { terminal, progress, wait } = clocked(false);
    for (let done = 0; done <= 10; done++) {
      progress.update('Training', done, 10, 1);
      wait(5);
    }
    progress.update('Training', 10, 10, 0);
    expect(terminal.stderr()).toBe('Training: 10 of 10\n');
  });

  test('a long job tells every ten seconds how long it takes', () => {
    const { terminal, progress, wait } = clocked(false);
    for (let done = 0; done <= 4; done++) {
      progress.update('Training', done, 4, 6 * (4 - done));
      wait(6000);
    }
    expect(terminal.stderr()).toBe('Training: 2 of 4, 12 s left\nTraining: 4 of 4\n');
  });
});

describe('on a screen', () => {
  test('one line is written over and kept when the job is done', () => {
    const { terminal, progress, wait } = clocked(true);
    progress.update('Training', 0, 2, undefined);
    wait(10);
    progress.update('Training', 1, 2, 90);
    wait(100);
    progress.update('Training', 1, 2, 90);
    progress.update('Training', 2, 2, 0);
    const clear = '\r\u001b[2K';
    expect(terminal.stderr()).toBe(
      `${clear}Training: 0 of 2${clear}Training: 1 of 2, 2 min left${clear}Training: 2 of 2\n`,
    );
  });

  test('a note takes the line away first, and nothing is wider than the screen', () => {
    const { terminal, progress } = clocked(true);
    progress.update(`Reading ${'x'.repeat(80)}`, 0, 2, undefined);
    progress.note('Stopping.');
    const lines = terminal.stderr().split('\r\u001b[2K');
    expect(lines.at(-1)).toBe('Stopping.\n');
    expect(lines[1]).toHaveLength(39);
  });
});

test('quiet says nothing', () => {
  const terminal = fakeTerminal('/');
  const progress = new Progress(terminal, true);
  progress.update('Training', 2, 2, 0);
  progress.note('done');
  expect(terminal.stderr()).toBe('');
});

test.each([
  [0.2, 'less than 1 s'],
  [59.6, '60 s'],
  [125, '2 min'],
  [7200, '2.0 h'],
])('%d seconds are %s', (seconds, words) => {
  expect(timeText(seconds)).toBe(words);
});

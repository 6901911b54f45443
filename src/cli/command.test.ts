import { describe, expect, test } from 'vitest';
import { type Command, parseCommand, UsageError } from './command.ts';

const command: Command = {
  name: 'try',
  summary: 'Try',
  usage: 'try WORD [--count N]',
  help: '',
  options: {
    count: { type: 'string' },
    method: { type: 'string' },
    weights: { type: 'string' },
    raw: { type: 'boolean' },
  },
  words: [1, 2],
  run: async () => undefined,
};
const parse = (...argv: string[]) => parseCommand(command, argv);

describe('words and options', () => {
  test('are read in any order', () => {
    const args = parse('--count', '3', 'one', '--raw', '--json', 'two');
    expect(args.words).toEqual(['one', 'two']);
    expect(args.number('count')).toBe(3);
    expect([args.flag('raw'), args.flag('json'), args.flag('quiet')]).toEqual([true, true, false]);
    expect(args.text('method')).toBeUndefined();
  });

  test('that the command does not have are refused with its usage', () => {
    expect(() => parse('one', '--cuont', '3')).toThrow(UsageError);
    expect(() => parse('one', '--cuont', '3')).toThrow(/--cuont.*alloy try WORD/su);
    expect(() => parse('one', '--count')).toThrow(/count/u);
    expect(() => parse()).toThrow(/missing/u);
    expect(() => parse('one', 'two', 'three')).toThrow(/"three" is too much/u);
  });

  test('--help needs no words', () => {
    expect(parse('--help').flag('help')).toBe(true);
  });
});

describe('values', () => {
  test.each([
    ['x', /"x"; give a number/u],
    ['', /""; give a number/u],
    ['0', /is 0; give a number from 1 to 9/u],
    ['10', /from 1 to 9/u],
    ['Infinity', /give a number/u],
  ])('the number %j is refused', (text, message) => {
    expect(() => parse('one', `--count=${text}`).number('count', { least: 1, most: 9 })).toThrow(message);
  });

  test('a fraction is no whole number', () => {
    const args = parse('one', '--count', '1.5');
    expect(args.number('count')).toBe(1.5);
    expect(() => args.number('count', { whole: true })).toThrow(/whole number/u);
  });

  test('a bound on one side is told as such', () => {
    expect(() => parse('one', '--count=-1').number('count', { least: 0 })).toThrow(/give 0 or more/u);
  });

  test('lists of numbers', () => {
    expect(parse('one', '--weights', '0.5, -1,2').numbers('weights')).toEqual([0.5, -1, 2]);
    expect(() => parse('one', '--weights', '1,,2').numbers('weights')).toThrow(UsageError);
  });

  test('choices name what there is', () => {
    expect(parse('one', '--method', 'sce').choice('method', ['sce', 'linear'])).toBe('sce');
    expect(() => parse('one', '--method', 'ties').choice('method', ['sce', 'linear'])).toThrow(
      /"ties"; choose among sce, linear/u,
    );
  });
});

import { describe, expect, test } from 'vitest';
import { answerIsRight, finalNumber, judgeAnswer, normaliseAnswer, sameFinalNumber } from './answers.ts';

describe('accepted answers', () => {
  test('case, punctuation, white space and width do not matter', () => {
    expect(normaliseAnswer('  It’s “Ｐａｒｉｓ”,\n she   said! ')).toBe('it s paris she said');
    expect(answerIsRight('An apple.', ['pear', 'Apple'])).toBe(true);
    expect(answerIsRight('On Monday.', ['monday'])).toBe(true);
    expect(answerIsRight('Crème brûlée', ['crème brûlée'])).toBe(true);
  });

  test('whole words at the end, in a short answer', () => {
    expect(answerIsRight('pineapple', ['apple'])).toBe(false);
    expect(answerIsRight('An apple, or a pear.', ['apple'])).toBe(false);
    expect(answerIsRight('a b c d e f g h i j apple', ['apple'])).toBe(false);
    expect(answerIsRight('a b c d e f g h i apple', ['apple'])).toBe(true);
    const long = 'one two three four five six seven eight nine ten eleven';
    expect(answerIsRight(long, [long])).toBe(true);
    expect(answerIsRight('', ['apple'])).toBe(false);
    expect(answerIsRight('anything', ['', '!?'])).toBe(false);
    expect(answerIsRight('apple', [])).toBe(false);
  });
});

describe('final numbers', () => {
  test.each([
    ['She has 24+72 = 96 dollars together.\n#### 96', 96],
    ['#### 1,234', 1234],
    ['#### -5', -5],
    ['#### $1,234.50', 1234.5],
    ['The answer is 72.', 72],
    ['The answer is 145 packs.', 145],
    ['10-7=3', 3],
    ['so 10-7', 7],
    ['It is −3 degrees', -3],
    ['COVID-19', 19],
    ['-$5', -5],
    ['1,234,567 people', 1234567],
    ['1, 2, 3', 3],
    ['1,2,3', 3],
    ['about 3.50', 3.5],
    ['costs .5', 0.5],
    ['12%', 12],
    ['#### 8 and then #### 9', 9],
    ['(22 - 5) + 13 = 30', 30],
  ])('%s', (text, number) => {
    expect(finalNumber(text)).toBe(number);
  });

  test('none', () => {
    expect(finalNumber('no number')).toBeUndefined();
    expect(sameFinalNumber('none', '#### 4')).toBe(false);
    expect(sameFinalNumber('4.0', '#### 4')).toBe(true);
  });

  test('a reference without accepted answers is judged only where it states a number', () => {
    expect(judgeAnswer('It is 5', 'So\n#### 5', undefined)).toBe(true);
    expect(judgeAnswer('It is 6', '2 + 3 = 5. The answer is 5 eggs.', undefined)).toBe(false);
    expect(judgeAnswer('in 1999', 'There are 3 reasons to like it.', undefined)).toBeUndefined();
    expect(judgeAnswer('Paris', 'The answer is 5.', ['paris'])).toBe(true);
  });
});

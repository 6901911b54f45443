import { expect, test } from 'vitest';
import { compileOniguruma } from './tokenizerRegex.ts';

const found = (pattern: string, text: string) =>
  [...text.matchAll(compileOniguruma(pattern))].map(([match]) => match);

/** Expected matches are those of Oniguruma with Ruby's syntax, as the library `tokenizers` uses it. */
test.each<[string, string, string[]]>([
  ['\\s+', 'a \u0085\ufeffb', [' \u0085']],
  ['\\S', ' \ufeff', ['\ufeff']],
  ['\\w+', 'aé٣_-b', ['aé٣_', 'b']],
  ['\\d', '1٣x', ['1', '٣']],
  ['\\h+', 'xFf0g', ['Ff0']],
  ['(?i:s|k)', 'Ssſ Kk\u212a', ['S', 's', 'ſ', 'K', 'k', '\u212a']],
  ['(?i:[a-c])x', 'Bx bx Dx', ['Bx', 'bx']],
  ['(?i)a(?-i)b', 'Ab AB ab', ['Ab', 'ab']],
  ['a++b|a', 'aab aa', ['aab', 'a', 'a']],
  ['\\s++$|\\s', ' \n x \n', [' ', '\n', ' ', ' \n']],
  ['(?>a|ab)c', 'abc ac', ['ac']],
  ['a{2,3}+', 'aaaaaaa', ['aaaaaa']],
  ['a{,2}b', 'aaab', ['aab']],
  ['x{}', 'x{}', ['x{}']],
  ['^a.$', 'ab\nac\nd', ['ab', 'ac']],
  ['\\Aa|b\\z', 'ab\nab', ['a', 'b']],
  ['[\\p{L}&&[^\\p{Han}]]+', 'a一b', ['a', 'b']],
  ['[^a&&[a-c]]+', 'abcd', ['bcd']],
  ['[[:alpha:]]+', 'aé1', ['aé']],
  ['[^[:space:]]+', 'a b', ['a', 'b']],
  ['[a\\-z]+', 'm-az', ['-az']],
  ['[(.|]+', '(a.|', ['(', '.|']],
  ['\\p{^L}+', 'a1b', ['1']],
  ['\\p{Hangul}', 'a한', ['한']],
  ['\\x41\\x{1F642}\\u0042', 'A🙂B', ['A🙂B']],
  ['(?<word>a)(?:b)(?#note)', 'ab', ['ab']],
  ['a(?=b)|(?<=b)a|(?<!b)c', 'ab ba c', ['a', 'a', 'c']],
])('%s', (pattern, text, matches) => {
  expect(found(pattern, text)).toEqual(matches);
});

test.each(['(', ')', '[a', '\\', '*a', '\\p{Nonsense}', '(?m:a)', '\\G', '\\pN', '\\k<a>', '(?~a)'])(
  '%s is refused',
  (pattern) => {
    expect(() => compileOniguruma(pattern)).toThrow(SyntaxError);
  },
);

/**
 * Regular expressions of tokenizer.json as JavaScript's. The originals run in Oniguruma with Ruby's syntax: `$` ends a line,
 * `\s`, `\w` and `\d` are Unicode's, `(?i:…)` folds as Unicode does (ſ is an s, the Kelvin sign a k), `++` and `(?>…)` never
 * give back what they took, and sets nest and intersect. Word boundaries, conditionals and calls are not read.
 * Syntax: github.com/kkos/oniguruma/blob/master/doc/RE.
 */

/** White space as Unicode has it: unlike JavaScript's `\s` it holds U+0085 and not U+FEFF. */
const space = '\\p{White_Space}';
const word = '\\p{L}\\p{M}\\p{Nd}\\p{Pc}';

const classes: Readonly<Record<string, string>> = {
  s: space,
  w: word,
  d: '\\p{Nd}',
  h: '0-9A-Fa-f',
};

const posixClasses: Readonly<Record<string, string>> = {
  alnum: '\\p{Alphabetic}\\p{Nd}',
  alpha: '\\p{Alphabetic}',
  ascii: '\\x00-\\x7f',
  blank: '\\p{Zs}\\t',
  cntrl: '\\p{Cc}',
  digit: '\\p{Nd}',
  graph: '[\\p{Any}--[\\p{White_Space}\\p{Cc}\\p{Cn}\\p{Cs}]]',
  lower: '\\p{Lowercase}',
  print: '[\\p{Any}--[\\p{Cc}\\p{Cn}\\p{Cs}]]',
  punct: '\\p{P}\\p{S}',
  space,
  upper: '\\p{Uppercase}',
  word,
  xdigit: '0-9A-Fa-f',
};

const controls: Readonly<Record<string, string>> = {
  t: '\t',
  n: '\n',
  r: '\r',
  f: '\f',
  v: '\v',
  a: '\x07',
  e: '\x1b',
  0: '\0',
};

/** Letters beyond case pairs that fold onto an ASCII letter. */
const extraFolds: Readonly<Record<string, string>> = { s: 'ſ', k: '\u212a' };

function escaped(character: string): string {
  return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
}

/** The characters that are the same but for case. */
function caseVariants(character: string): string[] {
  const lower = character.toLowerCase();
  const upper = character.toUpperCase();
  const variants = [character, lower, upper, extraFolds[lower] ?? ''];
  return [...new Set(variants)].filter((variant) => [...variant].length === 1);
}

function isProperty(source: string): boolean {
  try {
    return new RegExp(source, 'v') instanceof RegExp;
  } catch {
    return false;
  }
}

/** One scan over a pattern. `#out` is JavaScript's pattern so far. */
class Translator {
  readonly #pattern: string;
  #at = 0;
  #atomics = 0;

  constructor(pattern: string) {
    this.#pattern = pattern;
  }

  translate(): string {
    const out = this.#alternatives(false);
    if (this.#at < this.#pattern.length) throw new SyntaxError('a bracket is closed that was never opened');
    return out;
  }

  get #rest(): string {
    return this.#pattern.slice(this.#at);
  }

  #take(expression: RegExp): RegExpExecArray | null {
    const found = expression.exec(this.#rest);
    if (found?.index !== 0) return null;
    this.#at += found[0].length;
    return found;
  }

  #next(): string {
    const character = String.fromCodePoint(this.#pattern.codePointAt(this.#at) ?? 0);
    this.#at += character.length;
    return character;
  }

  /** Up to the end of the group or of the pattern. */
  #alternatives(fold: boolean): string {
    let out = '';
    let folds = fold;
    while (this.#at < this.#pattern.length && this.#pattern[this.#at] !== ')') {
      if (this.#take(/^\|/u)) {
        out += '|';
        continue;
      }
      if (this.#take(/^\(\?#[^)]*\)/u)) continue;
      const options = this.#take(/^\(\?([imx-]+)\)/u);
      if (options) {
        folds = this.#options(options[1] ?? '', folds);
        continue;
      }
      out += this.#quantified(this.#atom(folds));
    }
    return out;
  }

  #options(text: string, fold: boolean): boolean {
    const [on = '', off = ''] = text.split('-');
    if (/[mx]/u.test(on)) throw new SyntaxError(`the option (?${text}) is not known`);
    return on.includes('i') || (fold && !off.includes('i'));
  }

  #quantified(first: string): string {
    let atom = first;
    for (;;) {
      const found = this.#take(/^(?:([*+?])([+?]?)|\{(?:(\d+)(,?\d*)|,(\d+))\}(\??))/u);
      if (!found) return atom;
      const [, simple, after, low, more, most, lazy] = found;
      if (simple === undefined) atom = `(?:${atom}{${low === undefined ? `0,${most}` : low + more}}${lazy})`;
      else atom = after === '+' ? this.#atomic(`${atom}${simple}`) : `(?:${atom}${simple}${after})`;
    }
  }

  /** What a lookahead found is never tried otherwise; the reference to it then moves on. */
  #atomic(source: string): string {
    const name = `atomic${this.#atomics++}`;
    return `(?:(?=(?<${name}>${source}))\\k<${name}>)`;
  }

  #atom(fold: boolean): string {
    if (this.#pattern[this.#at] === '(') return this.#group(fold);
    if (this.#pattern[this.#at] === '[') return this.#set(fold);
    if (this.#pattern[this.#at] === '\\') return this.#escape(fold);
    const character = this.#next();
    switch (character) {
      case '.':
        return '[^\\n]';
      case '^':
        return '(?<![^\\n])';
      case '$':
        return '(?![^\\n])';
      case '*':
      case '+':
      case '?':
        throw new SyntaxError(`${character} repeats nothing`);
      default:
        return this.#literal(character, fold);
    }
  }

  #literal(character: string, fold: boolean): string {
    return fold ? `[${caseVariants(character).map(escaped).join('')}]` : escaped(character);
  }

  #group(fold: boolean): string {
    const open = this.#take(/^\((?:\?(?:([imx-]+):|(:|=|!|>|<=|<!)|<[A-Za-z_]\w*>|'[A-Za-z_]\w*'))?/u);
    if (!open || this.#pattern[this.#at] === '?') throw new SyntaxError('a group of an unknown kind');
    const [, options, kind = ':'] = open;
    const inner = this.#alternatives(options === undefined ? fold : this.#options(options, fold));
    if (!this.#take(/^\)/u)) throw new SyntaxError('a group is never closed');
    return kind === '>' ? this.#atomic(inner) : `(?${kind}${inner})`;
  }

  #escape(fold: boolean): string {
    const anchor = this.#take(/^\\([AzZG])/u)?.[1];
    if (anchor === 'A') return '(?<![\\p{Any}])';
    if (anchor === 'z') return '(?![\\p{Any}])';
    if (anchor === 'Z') return '(?!\\n?[\\p{Any}])';
    if (anchor === 'G') throw new SyntaxError('\\G is not known');
    if (this.#take(/^\\R/u)) return this.#atomic('\\r\\n|[\\n-\\r\\u{85}\\u{2028}\\u{2029}]');
    const member = this.#member();
    return 'set' in member ? `[${member.set}]` : this.#literal(member.character, fold);
  }

  /** An escape that stands for one character or a set of them. */
  #member(): { readonly set: string } | { readonly character: string } {
    const property = this.#take(/^\\([pP])\{(\^?)([^}]*)\}/u);
    if (property) {
      const [, letter, caret, name = ''] = property;
      return { set: propertyOf(name, (letter === 'P') !== (caret === '^')) };
    }
    const code = this.#take(/^\\(?:x\{([0-9A-Fa-f]+)\}|x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{4}))/u);
    if (code)
      return { character: String.fromCodePoint(Number.parseInt(code[1] ?? code[2] ?? code[3] ?? '', 16)) };
    const kind = this.#take(/^\\([swdhSWDH])/u)?.[1];
    if (kind !== undefined) {
      const set = classes[kind.toLowerCase()] ?? '';
      return { set: kind === kind.toLowerCase() ? set : `[^${set}]` };
    }
    this.#at++;
    if (this.#at >= this.#pattern.length) throw new SyntaxError('it ends in a backslash');
    const character = this.#next();
    if (/[1-9A-Za-z]/u.test(character) && controls[character] === undefined)
      throw new SyntaxError(`\\${character} is not known`);
    return { character: controls[character] ?? character };
  }

  #set(fold: boolean): string {
    this.#at++;
    const negated = this.#take(/^\^/u) !== null;
    const operands: string[] = [];
    let current = '';
    for (let first = true; ; first = false) {
      if (this.#at >= this.#pattern.length) throw new SyntaxError('a set is never closed');
      if (this.#take(/^&&/u)) {
        operands.push(current);
        current = '';
      } else if (!first && this.#take(/^\]/u)) break;
      else current += this.#setItem(fold);
    }
    operands.push(current);
    if (operands.length === 1) return `[${negated ? '^' : ''}${current}]`;
    const parts = operands.map((operand) => `[${operand}]`).join('&&');
    return negated ? `[^${parts}]` : `[${parts}]`;
  }

  #setItem(fold: boolean): string {
    const posix = this.#take(/^\[:(\^?)(\w+):\]/u);
    if (posix) {
      const set = posixClasses[posix[2] ?? ''];
      if (set === undefined) throw new SyntaxError(`${posix[0]} is not known`);
      return posix[1] === '^' ? `[^${set}]` : set;
    }
    if (this.#pattern[this.#at] === '[') return this.#set(fold);
    const low = this.#setCharacter();
    if ('set' in low) return low.set;
    if (!/^-[^\]]/u.test(this.#rest) || this.#rest.startsWith('-&&') || this.#rest.startsWith('-[')) {
      return fold ? caseVariants(low.character).map(escaped).join('') : escaped(low.character);
    }
    this.#at++;
    const high = this.#setCharacter();
    if ('set' in high) return `${escaped(low.character)}\\-${high.set}`;
    return foldedRange(low.character, high.character, fold);
  }

  #setCharacter(): { readonly set: string } | { readonly character: string } {
    return this.#pattern[this.#at] === '\\' ? this.#member() : { character: this.#next() };
  }
}

function foldedRange(low: string, high: string, fold: boolean): string {
  const range = `${escaped(low)}-${escaped(high)}`;
  if (!fold) return range;
  const [from, to] = [low.codePointAt(0) ?? 0, high.codePointAt(0) ?? 0];
  const variants = new Set<string>();
  for (let code = from; code <= Math.min(to, from + 0x2000); code++)
    for (const variant of caseVariants(String.fromCodePoint(code))) variants.add(variant);
  return range + [...variants].map(escaped).join('');
}

/** A general category, a script or another property by its name. */
function propertyOf(name: string, negated: boolean): string {
  const posix = posixClasses[name.toLowerCase()];
  if (posix !== undefined) return negated ? `[^${posix}]` : posix;
  for (const source of [
    name,
    `Script=${name}`,
    `Script=${name[0]?.toUpperCase()}${name.slice(1).toLowerCase()}`,
  ])
    if (isProperty(`\\p{${source}}`)) return `\\${negated ? 'P' : 'p'}{${source}}`;
  throw new SyntaxError(`the property ${name} is not known`);
}

/**
 * Compiles a pattern of tokenizer.json; the result is global.
 * @throws SyntaxError for what it cannot express
 */
export function compileOniguruma(pattern: string): RegExp {
  return new RegExp(new Translator(pattern).translate(), 'gv');
}

/** A text to be found as it is. */
export function literalPattern(text: string): RegExp {
  return new RegExp(Array.from(text, escaped).join(''), 'gv');
}

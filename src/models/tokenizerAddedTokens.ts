/** Tokens that are found in the text before anything else: special tokens and whole words that were added. */

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Special tokens have a role (begin, end of turn, …) and stand for no text. */
  readonly special: boolean;
  /** Found after normalization instead of before. */
  readonly normalized: boolean;
  /** Takes the white space before or after it along. */
  readonly stripLeft: boolean;
  readonly stripRight: boolean;
  /** Only where no letter or digit touches it. */
  readonly wholeWord: boolean;
}

/** A piece of text, or an added token found in it. */
export type Section = { readonly text: string } | { readonly token: AddedToken };

interface TrieNode {
  readonly children: Map<number, TrieNode>;
  token: AddedToken | undefined;
}

/** A letter, mark, digit … at the end or at the beginning of a text, as Unicode counts words (UTS #18). */
const endsInWord = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]$/u;
const startsWithWord = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;
/** Unlike `trim`, without U+FEFF and with U+0085. */
const leadingSpace = /^\p{White_Space}+/u;
const trailingSpace = /\p{White_Space}+$/u;

/** Finds added tokens from left to right, the longest at each place. */
export class AddedTokenSplitter {
  readonly #root: TrieNode = { children: new Map(), token: undefined };

  constructor(patterns: Iterable<readonly [text: string, token: AddedToken]>) {
    for (const [text, token] of patterns) {
      if (text === '') continue;
      let node = this.#root;
      for (let i = 0; i < text.length; i++) {
        const unit = text.charCodeAt(i);
        let child = node.children.get(unit);
        if (child === undefined) {
          child = { children: new Map(), token: undefined };
          node.children.set(unit, child);
        }
        node = child;
      }
      node.token ??= token;
    }
  }

  /**
   * @param special whether special tokens are looked for, too
   * @param strip whether white space that a token takes along is left out of the text beside it
   */
  split(text: string, special: boolean, strip = true): Section[] {
    const sections: Section[] = [];
    let start = 0;
    let at = 0;
    let trimNext = false;
    const flush = (end: number, trimEnd: boolean): void => {
      let piece = text.slice(start, end);
      if (trimNext) piece = piece.replace(leadingSpace, '');
      if (trimEnd) piece = piece.replace(trailingSpace, '');
      if (piece !== '') sections.push({ text: piece });
    };
    while (at < text.length) {
      const found = this.#longest(text, at, special);
      if (found === undefined) {
        at++;
        continue;
      }
      flush(at, strip && found.token.stripLeft);
      sections.push({ token: found.token });
      at += found.length;
      start = at;
      trimNext = strip && found.token.stripRight;
    }
    flush(text.length, false);
    return sections;
  }

  #longest(text: string, at: number, special: boolean): { token: AddedToken; length: number } | undefined {
    let node: TrieNode | undefined = this.#root.children.get(text.charCodeAt(at));
    let best: { token: AddedToken; length: number } | undefined;
    for (let end = at + 1; node !== undefined; end++) {
      const { token } = node;
      if (token !== undefined && (special || !token.special) && standsAlone(token, text, at, end))
        best = { token, length: end - at };
      node = end < text.length ? node.children.get(text.charCodeAt(end)) : undefined;
    }
    return best;
  }
}

function standsAlone(token: AddedToken, text: string, start: number, end: number): boolean {
  if (!token.wholeWord) return true;
  return (
    !endsInWord.test(text.slice(Math.max(0, start - 2), start)) &&
    !startsWithWord.test(text.slice(end, end + 2))
  );
}

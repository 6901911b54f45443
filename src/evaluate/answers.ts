/**
 * The form in which answers are compared: compatibility characters unified, lower case, letters and digits alone,
 * single spaces.
 */
export function normaliseAnswer(answer: string): string {
  return answer
    .normalize('NFKC')
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, ' ')
    .trim();
}

/** A sentence around the answer is fine, an enumeration that happens to end well is not. */
const MOST_WORDS = 10;

/**
 * Whether an answer is right: after `normaliseAnswer` it ends with all words of one accepted answer, and has at most
 * ten words (or as many as that accepted answer has).
 */
export function answerIsRight(answer: string, accept: readonly string[]): boolean {
  const given = wordsOf(answer);
  return accept.some((one) => {
    const wanted = wordsOf(one);
    if (wanted.length === 0 || given.length > Math.max(MOST_WORDS, wanted.length)) return false;
    return wanted.join(' ') === given.slice(-wanted.length).join(' ');
  });
}

function wordsOf(text: string): readonly string[] {
  const normal = normaliseAnswer(text);
  return normal === '' ? [] : normal.split(' ');
}

/** Digits with or without thousands separators and decimals. */
const DIGITS = String.raw`(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|(?<!\d)\.\d+)`;

/** A sign counts only where a number may begin, so `10-7` ends in 7 and `COVID-19` in 19. */
const NUMBER = new RegExp(String.raw`(?<![^\s$€£=(:*+])[-−][$€£]?${DIGITS}|${DIGITS}`, 'gu');

/**
 * The final number of a worked answer: the one after the last `####` if there is one, else the last number in the
 * text. Thousands separators, currency and units are ignored. `undefined` where there is no number.
 */
export function finalNumber(answer: string): number | undefined {
  const marked = answer.lastIndexOf('####');
  const text = marked >= 0 ? answer.slice(marked) : answer;
  const last = [...text.matchAll(NUMBER)].at(-1)?.[0];
  return last === undefined ? undefined : Number(last.replace(/[,$€£]/gu, '').replace('−', '-'));
}

/** Slack for decimals that were written out differently. */
const RELATIVE_SLACK = 1e-6;

/** Whether two worked answers end in the same number. */
export function sameFinalNumber(answer: string, reference: string): boolean {
  const [given, wanted] = [finalNumber(answer), finalNumber(reference)];
  if (given === undefined || wanted === undefined) return false;
  return Math.abs(given - wanted) <= RELATIVE_SLACK * Math.max(1, Math.abs(wanted));
}

/** A reference that states one final number, as GSM8K and its relatives write it. */
const STATES_NUMBER = /####\s*\S*\d|(?:the )?answer is\s+\S*\d[^.!?\n]*(?:\.\d+[^.!?\n]*)?[.!]?\s*$/iu;

/**
 * Judges a generated answer against what the data knows.
 * @param reference the held-out answer.
 * @returns `undefined` where neither `accept` nor a final number says what is right.
 */
export function judgeAnswer(
  answer: string,
  reference: string,
  accept: readonly string[] | undefined,
): boolean | undefined {
  if (accept !== undefined) return answerIsRight(answer, accept);
  return STATES_NUMBER.test(reference) ? sameFinalNumber(answer, reference) : undefined;
}

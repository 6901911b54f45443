import type { Tokenizer } from '../models/tokenizer.ts';
import { AlloyError } from '../util/errors.ts';
import { tokenLabel } from './tokenLabel.ts';

/**
 * The tokens of a text that goes on after another, and the UTF-8 bytes of it that each stands for.
 * @throws AlloyError `unsupported` for a tokenizer that does not give the text back
 */
export function tokenSpans(
  tokenizer: Tokenizer,
  text: string,
): { id: number; text: string; start: number; end: number }[] {
  const ids = tokenizer.encode(text, { special: false, start: false });
  const spans = tokenizer.byteSpans(ids, text);
  if (!spans.ok) {
    throw new AlloyError(
      'unsupported',
      `${tokenizer.file}: the tokenizer does not give a text back (${spans.reason}); use a model whose tokenizer does.`,
    );
  }
  return ids.map((id, index) => ({
    id,
    text: tokenLabel(tokenizer, id),
    start: spans.starts[index] ?? 0,
    end: spans.ends[index] ?? 0,
  }));
}

import type { Tokenizer } from '../models/tokenizer.ts';

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * A token as a person can read it by itself: its text with white space kept, `<0xHH>` for each byte where it is not
 * UTF-8 of its own, the name of a special token.
 */
export function tokenLabel(tokenizer: Tokenizer, id: number): string {
  const bytes = tokenizer.bytesOf(id);
  if (bytes.length === 0) return tokenizer.tokenText(id) || `<${id}>`;
  try {
    return decoder.decode(bytes);
  } catch {
    return Array.from(bytes, (byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`).join('');
  }
}

/** The printable characters that byte-level BPE writes bytes with (the table of GPT-2). */

const printable = (byte: number) =>
  (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);

const characters: readonly string[] = (() => {
  let extra = 0;
  return Array.from({ length: 256 }, (_, byte) =>
    String.fromCharCode(printable(byte) ? byte : 256 + extra++),
  );
})();

const byteOfCharacter: ReadonlyMap<string, number> = new Map(
  characters.map((character, byte) => [character, byte]),
);

const utf8 = new TextEncoder();

/** A text as byte-level BPE sees it: one character for each of its UTF-8 bytes. */
export function toByteLevel(text: string): string {
  let mapped = '';
  for (const byte of utf8.encode(text)) mapped += characters[byte];
  return mapped;
}

/** The bytes of a byte-level token, or null where it has a character that stands for no byte. */
export function fromByteLevel(token: string): Uint8Array<ArrayBuffer> | null {
  const bytes = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) {
    const byte = byteOfCharacter.get(token.charAt(i));
    if (byte === undefined) return null;
    bytes[i] = byte;
  }
  return bytes;
}

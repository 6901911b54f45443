import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type HashKind, streamHash } from './streamHash.ts';

const kinds: readonly HashKind[] = ['sha256', 'sha1'];
const bytesOf = (text: string) => new TextEncoder().encode(text);

function inPieces(kind: HashKind, bytes: Uint8Array, sizes: readonly number[]): string {
  const hash = streamHash(kind);
  let at = 0;
  for (const size of sizes) {
    hash.update(bytes.subarray(at, at + size));
    at += size;
  }
  hash.update(bytes.subarray(at));
  return hash.hex();
}

describe('streamHash', () => {
  test('the examples of the standard', () => {
    const of = (kind: HashKind, text: string) => inPieces(kind, bytesOf(text), []);
    expect(of('sha256', '')).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
    expect(of('sha256', 'abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
    expect(of('sha1', '')).toBe('da39a3ee5e6b4b0d3255bfef95601890afd80709');
    expect(of('sha1', 'abc')).toBe('a9993e364706816aba3e25717850c26c9cd0d89d');
    expect(of('sha1', 'blob 0\0')).toBe('e69de29bb2d1d6434b8b29ae775ad8c2e48c5391');
  });

  test.each(kinds)('%s of any bytes in any pieces is that of the system', (kind) => {
    const pieces = fc.array(fc.integer({ min: 0, max: 150 }), { maxLength: 12 });
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 700 }), pieces, (bytes, sizes) => {
        expect(inPieces(kind, bytes, sizes)).toBe(createHash(kind).update(bytes).digest('hex'));
      }),
    );
  });

  test('asked twice it says the same; a long message', () => {
    const bytes = new Uint8Array(3_000_001).map((_, i) => i % 253);
    const hash = streamHash('sha256');
    hash.update(bytes);
    expect(hash.hex()).toBe(createHash('sha256').update(bytes).digest('hex'));
    expect(hash.hex()).toBe(hash.hex());
  });
});

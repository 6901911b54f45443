/**
 * SHA-256 and SHA-1 (FIPS 180-4) over bytes that come in pieces. Web Crypto hashes whole buffers alone, which a model's
 * weights must never become.
 */

export interface StreamHash {
  update(bytes: Uint8Array): void;
  /** Ends the message. @returns lower-case hex digits */
  hex(): string;
}

export type HashKind = 'sha256' | 'sha1';

/** Starts a hash over nothing. */
export function streamHash(kind: HashKind): StreamHash {
  return kind === 'sha256' ? new Sha256() : new Sha1();
}

const BLOCK_BYTES = 64;
const LENGTH_BYTES = 8;

/** What both have in common: blocks of 64 bytes, a one bit, zeros, and the length in bits at the end. */
abstract class BlockHash implements StreamHash {
  readonly #rest = new Uint8Array(BLOCK_BYTES);
  #restBytes = 0;
  #bytes = 0;
  #result: string | undefined;

  update(bytes: Uint8Array): void {
    this.#bytes += bytes.length;
    let at = 0;
    if (this.#restBytes > 0) {
      at = Math.min(BLOCK_BYTES - this.#restBytes, bytes.length);
      this.#rest.set(bytes.subarray(0, at), this.#restBytes);
      this.#restBytes += at;
      if (this.#restBytes < BLOCK_BYTES) return;
      this.blocks(this.#rest, 0, 1);
      this.#restBytes = 0;
    }
    const count = Math.floor((bytes.length - at) / BLOCK_BYTES);
    this.blocks(bytes, at, count);
    at += count * BLOCK_BYTES;
    this.#rest.set(bytes.subarray(at), 0);
    this.#restBytes = bytes.length - at;
  }

  hex(): string {
    this.#result ??= this.#finish();
    return this.#result;
  }

  #finish(): string {
    const bits = BigInt(this.#bytes) * 8n;
    const room = (this.#restBytes + 1 + LENGTH_BYTES) % BLOCK_BYTES;
    const tail = new Uint8Array(1 + ((BLOCK_BYTES - room) % BLOCK_BYTES) + LENGTH_BYTES);
    tail[0] = 0x80;
    new DataView(tail.buffer).setBigUint64(tail.length - LENGTH_BYTES, bits);
    this.update(tail);
    return Array.from(this.state, (word) => (word >>> 0).toString(16).padStart(8, '0')).join('');
  }

  protected abstract readonly state: Int32Array;
  protected abstract blocks(bytes: Uint8Array, at: number, count: number): void;
}

/** Reads the 16 words of a block into the start of the schedule. */
function readBlock(words: Int32Array, bytes: Uint8Array, at: number): void {
  for (let i = 0, from = at; i < 16; i++, from += 4) {
    words[i] =
      ((bytes[from] as number) << 24) |
      ((bytes[from + 1] as number) << 16) |
      ((bytes[from + 2] as number) << 8) |
      (bytes[from + 3] as number);
  }
}

/** The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
const ROUND_CONSTANTS = Int32Array.of(
  0x428a2f98,
  0x71374491,
  0xb5c0fbcf,
  0xe9b5dba5,
  0x3956c25b,
  0x59f111f1,
  0x923f82a4,
  0xab1c5ed5,
  0xd807aa98,
  0x12835b01,
  0x243185be,
  0x550c7dc3,
  0x72be5d74,
  0x80deb1fe,
  0x9bdc06a7,
  0xc19bf174,
  0xe49b69c1,
  0xefbe4786,
  0x0fc19dc6,
  0x240ca1cc,
  0x2de92c6f,
  0x4a7484aa,
  0x5cb0a9dc,
  0x76f988da,
  0x983e5152,
  0xa831c66d,
  0xb00327c8,
  0xbf597fc7,
  0xc6e00bf3,
  0xd5a79147,
  0x06ca6351,
  0x14292967,
  0x27b70a85,
  0x2e1b2138,
  0x4d2c6dfc,
  0x53380d13,
  0x650a7354,
  0x766a0abb,
  0x81c2c92e,
  0x92722c85,
  0xa2bfe8a1,
  0xa81a664b,
  0xc24b8b70,
  0xc76c51a3,
  0xd192e819,
  0xd6990624,
  0xf40e3585,
  0x106aa070,
  0x19a4c116,
  0x1e376c08,
  0x2748774c,
  0x34b0bcb5,
  0x391c0cb3,
  0x4ed8aa4a,
  0x5b9cca4f,
  0x682e6ff3,
  0x748f82ee,
  0x78a5636f,
  0x84c87814,
  0x8cc70208,
  0x90befffa,
  0xa4506ceb,
  0xbef9a3f7,
  0xc67178f2,
);

class Sha256 extends BlockHash {
  protected readonly state = Int32Array.of(
    0x6a09e667,
    0xbb67ae85,
    0x3c6ef372,
    0xa54ff53a,
    0x510e527f,
    0x9b05688c,
    0x1f83d9ab,
    0x5be0cd19,
  );
  readonly #words = new Int32Array(64);

  protected blocks(bytes: Uint8Array, at: number, count: number): void {
    for (let block = 0; block < count; block++) {
      readBlock(this.#words, bytes, at + block * BLOCK_BYTES);
      mixSha256(this.state, this.#words);
    }
  }
}

function mixSha256(state: Int32Array, w: Int32Array): void {
  for (let i = 16; i < 64; i++) {
    const x = w[i - 15] as number;
    const y = w[i - 2] as number;
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
    w[i] = ((w[i - 16] as number) + s0 + (w[i - 7] as number) + s1) | 0;
  }
  let a = state[0] as number;
  let b = state[1] as number;
  let c = state[2] as number;
  let d = state[3] as number;
  let e = state[4] as number;
  let f = state[5] as number;
  let g = state[6] as number;
  let h = state[7] as number;
  for (let i = 0; i < 64; i++) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const choice = (e & f) ^ (~e & g);
    const t1 = (h + s1 + choice + (ROUND_CONSTANTS[i] as number) + (w[i] as number)) | 0;
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const majority = (a & b) ^ (a & c) ^ (b & c);
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + s0 + majority) | 0;
  }
  state[0] = (state[0] as number) + a;
  state[1] = (state[1] as number) + b;
  state[2] = (state[2] as number) + c;
  state[3] = (state[3] as number) + d;
  state[4] = (state[4] as number) + e;
  state[5] = (state[5] as number) + f;
  state[6] = (state[6] as number) + g;
  state[7] = (state[7] as number) + h;
}

class Sha1 extends BlockHash {
  protected readonly state = Int32Array.of(0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0);
  readonly #words = new Int32Array(80);

  protected blocks(bytes: Uint8Array, at: number, count: number): void {
    for (let block = 0; block < count; block++) {
      readBlock(this.#words, bytes, at + block * BLOCK_BYTES);
      mixSha1(this.state, this.#words);
    }
  }
}

function mixSha1(state: Int32Array, w: Int32Array): void {
  for (let i = 16; i < 80; i++) {
    const x = (w[i - 3] as number) ^ (w[i - 8] as number) ^ (w[i - 14] as number) ^ (w[i - 16] as number);
    w[i] = (x << 1) | (x >>> 31);
  }
  let a = state[0] as number;
  let b = state[1] as number;
  let c = state[2] as number;
  let d = state[3] as number;
  let e = state[4] as number;
  for (let i = 0; i < 80; i++) {
    const mixed = i < 20 ? (b & c) | (~b & d) : i >= 40 && i < 60 ? (b & c) | (b & d) | (c & d) : b ^ c ^ d;
    const next = (((a << 5) | (a >>> 27)) + mixed + e + sha1Constant(i) + (w[i] as number)) | 0;
    e = d;
    d = c;
    c = (b << 30) | (b >>> 2);
    b = a;
    a = next;
  }
  state[0] = (state[0] as number) + a;
  state[1] = (state[1] as number) + b;
  state[2] = (state[2] as number) + c;
  state[3] = (state[3] as number) + d;
  state[4] = (state[4] as number) + e;
}

function sha1Constant(i: number): number {
  if (i < 20) return 0x5a827999;
  if (i < 40) return 0x6ed9eba1;
  return i < 60 ? 0x8f1bbcdc : 0xca62c1d6;
}

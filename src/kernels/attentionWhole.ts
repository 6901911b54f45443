/**
 * The backward pass in WASM where there are enough key heads for all threads: a piece takes a key head with all its
 * queries, so that it may add to dq while it walks over the keys, and makes the scores anew once instead of twice: 10 d
 * flops a score instead of 14 d. No GPU runs this: it has far too little to do at once, and 10 buffers.
 */
import { defineKernel, read, write } from '../device/kernel.ts';
import { ATTENTION_PARAMS, type AttentionShape } from './attentionScore.ts';

/** Key heads of a batch from which on threads are kept busy: three for each of four. */
const ENOUGH = 12;

/** Multiply-adds of a product of a piece at most: nothing interrupts a piece, and this takes about 0.1 s. */
const LONGEST = 2 ** 29;

export function takesWholeHeads({ batch, tokens, heads, kvHeads, headWidth }: AttentionShape): boolean {
  return batch * kvHeads >= ENOUGH && (heads / kvHeads) * tokens * tokens * headWidth <= LONGEST;
}

export const wholeHeadsKernel = defineKernel({
  name: 'attention.wasm.backward',
  buffers: {
    q: read('f32'),
    k: read('f32'),
    v: read('f32'),
    o: read('f32'),
    grad: read('f32'),
    lse: read('f32'),
    delta: write('f32'),
    dq: write('f32'),
    dk: write('f32'),
    dv: write('f32'),
  },
  params: ATTENTION_PARAMS,
  wasm: { name: 'attentionBackward', pieces: (_, [kvHeads, batch]) => kvHeads * batch },
});

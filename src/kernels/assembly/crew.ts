/**
 * The threads of a device. All of them walk through a program together: they claim pieces of a dispatch until none is left
 * and wait for each other before the next one. A program is a row of steps: kernel (its place in the function table),
 * pieces, how many of them are claimed at once, a word that is not used, and the slots of the kernel's arguments.
 */
import { beginDispatch, setScratch } from './lib/scratch';

export const heapBase: usize = __heap_base;

/** The block of memory through which the crew is led: words that the host and all threads share. */
const EPOCH: usize = 0; // counts programs; the crew starts when it changes
const STOP: usize = 4;
const PROGRAM: usize = 8;
const STEPS: usize = 12;
const THREADS: usize = 16;
const ARRIVED: usize = 20; // threads that are through with the dispatch
const TURN: usize = 24; // counts dispatches; the barrier opens when it changes
const NEXT: usize = 28; // first piece that nobody has claimed

const STEP_BYTES: usize = 256;
const SLOTS: usize = 16;

/** How often a thread looks before it lies down: some microseconds, as a system call takes. */
const LOOKS: i32 = 4000;

/** Provided by the thread's host: tells it that the program is through. */
declare function finished(): void;

/** Runs the pieces `from .. to` of one dispatch, of which the first come first. */
export function call(kernel: u32, slots: usize, from: u32, to: u32): void {
  if (from === 0) beginDispatch();
  call_indirect<void>(kernel, slots, from, to);
}

export function keepScratch(address: usize): void {
  setScratch(address);
}

/** A thread's life; ends when the host says so. */
export function work(control: usize): void {
  let epoch: i32 = 0;
  let turn: i32 = 0;
  const threads = load<i32>(control + THREADS);
  for (;;) {
    awaitChange(control + EPOCH, epoch);
    epoch = atomic.load<i32>(control + EPOCH);
    if (atomic.load<i32>(control + STOP) !== 0) return;
    const program = atomic.load<usize>(control + PROGRAM);
    const end = program + atomic.load<usize>(control + STEPS) * STEP_BYTES;
    for (let step = program; step < end; step += STEP_BYTES) {
      runShare(control, step);
      if (atomic.add<i32>(control + ARRIVED, 1) + 1 === threads) {
        atomic.store<i32>(control + ARRIVED, 0);
        atomic.store<i32>(control + NEXT, 0);
        turn++;
        atomic.store<i32>(control + TURN, turn);
        atomic.notify(control + TURN, -1);
        if (step + STEP_BYTES === end) finished();
      } else {
        awaitChange(control + TURN, turn);
        turn++;
      }
    }
  }
}

function runShare(control: usize, step: usize): void {
  beginDispatch();
  const kernel = load<u32>(step);
  const pieces = load<u32>(step, 4);
  const chunk = load<u32>(step, 8);
  for (;;) {
    const from = atomic.add<u32>(control + NEXT, chunk);
    if (from >= pieces) return;
    call_indirect<void>(kernel, step + SLOTS, from, min(pieces, from + chunk));
  }
}

function awaitChange(word: usize, known: i32): void {
  for (let look = 0; look < LOOKS; look++) {
    if (atomic.load<i32>(word) !== known) return;
  }
  while (atomic.load<i32>(word) === known) atomic.wait<i32>(word, known, -1);
}

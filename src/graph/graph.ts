import type { Tuning } from '../device/device.ts';
import type { DeviceBuffer } from '../device/deviceBuffer.ts';
import type { Dispatch } from '../device/kernel.ts';
import { axpy, copy } from '../kernels/elementwise.ts';
import { AlloyError } from '../util/errors.ts';
import { type Cheap, dropUnread, type Recomputation, repeatCheap } from './recompute.ts';
import type { Tensor } from './tensor.ts';

interface TapeEntry {
  readonly outputs: readonly Tensor[];
  readonly run: (gradients: Gradients) => void;
}

export interface GraphOptions {
  /** What the reverse walk works out again instead of keeping it; the numbers are the same. */
  readonly recompute?: Recomputation | undefined;
  readonly bindingBytes?: number;
}

/**
 * The trace of a computation. Operations emit their forward dispatches at once and leave a backward rule on the
 * tape; `backward` walks the tape in reverse. The graph only exists until it is planned.
 */
export class Graph {
  readonly tuning: Tuning;
  /** What one value may take at most. */
  readonly bindingBytes: number;
  readonly dispatches: Dispatch<Tensor>[] = [];
  readonly #recomputation: Recomputation;
  #tape: TapeEntry[] = [];
  #cheap: Cheap[] = [];

  constructor(tuning: Tuning, options: GraphOptions = {}) {
    this.tuning = tuning;
    this.bindingBytes = options.bindingBytes ?? Number.POSITIVE_INFINITY;
    this.#recomputation = options.recompute ?? 'off';
  }

  /** A value that lives in a slot; 4 bytes an element. */
  tensor(name: string, shape: readonly number[], needsGradient = false): Tensor {
    const bytes = 4 * shape.reduce((product, size) => product * size, 1);
    return { name, shape, bytes, home: undefined, needsGradient, gradient: undefined };
  }

  emit(dispatches: Dispatch<Tensor> | readonly Dispatch<Tensor>[]): void {
    if (Array.isArray(dispatches)) this.dispatches.push(...(dispatches as readonly Dispatch<Tensor>[]));
    else this.dispatches.push(dispatches as Dispatch<Tensor>);
  }

  /** Emits what makes `value`, cheaply, from values that its backward rule keeps anyway: see `Recomputation`. */
  emitCheap(value: Tensor, dispatches: Dispatch<Tensor> | readonly Dispatch<Tensor>[]): void {
    const first = this.dispatches.length;
    this.emit(dispatches);
    if (this.#recomputation === 'light') this.#cheap.push({ value, first, end: this.dispatches.length });
  }

  /**
   * A stretch of the graph, a layer as a rule, that may be worked out again in the reverse walk: then only what
   * `emit` reads from outside is kept until there.
   * @param emit lays the stretch down, with new tensors each time, and gives the only value that is used outside
   */
  segment(emit: () => Tensor): Tensor {
    if (this.#recomputation !== 'full') return emit();
    const outer = this.#tape;
    this.#tape = [];
    const output = emit();
    const rules = this.#tape.length;
    this.#tape = outer;
    if (rules === 0) return output;
    this.onBackward([output], (gradients) => {
      const gradient = gradients.take(output);
      const first = this.dispatches.length;
      this.#tape = [];
      const again = emit();
      const end = this.dispatches.length;
      gradients.give(again, gradient);
      this.#walk(gradients);
      dropUnread(this.dispatches, first, end);
    });
    return output;
  }

  /** Leaves a backward rule for `outputs`; it runs if any of them has got a gradient. */
  onBackward(outputs: readonly Tensor[], run: (gradients: Gradients) => void): void {
    if (outputs.some((output) => output.needsGradient)) this.#tape.push({ outputs, run });
  }

  /** Emits the dispatches of the reverse walk. The loss operation has seeded the gradients it knows. */
  backward(): void {
    const first = this.dispatches.length;
    this.#walk(new Gradients(this));
    repeatCheap(this.dispatches, this.#cheap, first);
    this.#cheap = [];
  }

  /** Leaves a rule that always runs, for the loss at the end of the graph. */
  onBackwardStart(run: (gradients: Gradients) => void): void {
    this.#tape.push({ outputs: [], run });
  }

  #walk(gradients: Gradients): void {
    const tape = this.#tape;
    this.#tape = [];
    for (const { outputs, run } of tape.reverse()) {
      if (outputs.length === 0 || outputs.some((output) => gradients.has(output))) run(gradients);
    }
  }
}

/** A value that already has a buffer: weights, inputs, caches, optimizer state. */
export function tensorIn(
  buffer: DeviceBuffer,
  name: string,
  shape: readonly number[],
  gradient?: Tensor,
): Tensor {
  return { name, shape, bytes: buffer.bytes, home: buffer, needsGradient: gradient !== undefined, gradient };
}

/**
 * The gradients of the reverse walk. A residual connection hands one gradient to two values without a copy; the
 * second writer copies it first if somebody still has to read it.
 */
export class Gradients {
  #graph: Graph;
  #of = new Map<Tensor, Tensor>();
  /** Values whose gradient is this tensor and whose producer has not read it yet. */
  #readers = new Map<Tensor, Set<Tensor>>();

  constructor(graph: Graph) {
    this.#graph = graph;
  }

  has(value: Tensor): boolean {
    return this.#of.has(value);
  }

  /** The finished gradient of an output, read for the last time by its producer. */
  take(value: Tensor): Tensor {
    const gradient = this.#get(value);
    this.#readers.get(gradient)?.delete(value);
    return gradient;
  }

  /** A gradient that may be changed in place. */
  own(value: Tensor): Tensor {
    const gradient = this.#get(value);
    const readers = this.#readers.get(gradient);
    if (!readers || readers.size <= 1) return gradient;
    const mine = this.#graph.tensor(`${gradient.name}.copy`, gradient.shape);
    this.#graph.emit(copy({ x: gradient, y: mine }, gradient.bytes / 4));
    readers.delete(value);
    this.#set(value, mine);
    return mine;
  }

  /**
   * Adds a contribution: `write` gets the tensor to write and whether to add to what is there. Does nothing for
   * values that need no gradient. A parameter's gradient is always added to.
   */
  contribute(value: Tensor, write: (into: Tensor, accumulate: boolean) => void): void {
    if (!value.needsGradient) return;
    if (value.gradient) {
      write(value.gradient, true);
      return;
    }
    if (this.#of.has(value)) {
      write(this.own(value), true);
      return;
    }
    const fresh = this.#graph.tensor(`d.${value.name}`, value.shape);
    this.#set(value, fresh);
    write(fresh, false);
  }

  /** Like `contribute` for kernels that cannot add: the value must not have a gradient yet. */
  seed(value: Tensor): Tensor {
    if (this.#of.has(value)) throw new AlloyError('internal', `${value.name} has a gradient already`);
    const fresh = this.#graph.tensor(`d.${value.name}`, value.shape);
    this.#set(value, fresh);
    return fresh;
  }

  /** Makes `gradient`, which its first owner has taken, that of a value. */
  give(value: Tensor, gradient: Tensor): void {
    this.#set(value, gradient);
  }

  /** Hands `gradient` on unchanged, shared where possible. Call it after the operation's own contributions. */
  pass(value: Tensor, gradient: Tensor): void {
    if (!value.needsGradient) return;
    if (!value.gradient && !this.#of.has(value)) {
      this.#set(value, gradient);
      return;
    }
    this.contribute(value, (into) => {
      this.#graph.emit(axpy({ x: gradient, y: into }, gradient.bytes / 4, 1));
    });
  }

  #get(value: Tensor): Tensor {
    const gradient = this.#of.get(value);
    if (!gradient) throw new AlloyError('internal', `${value.name} has no gradient`);
    return gradient;
  }

  #set(value: Tensor, gradient: Tensor): void {
    this.#of.set(value, gradient);
    const readers = this.#readers.get(gradient) ?? new Set();
    this.#readers.set(gradient, readers.add(value));
  }
}

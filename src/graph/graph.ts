import type { DeviceBuffer } from '../gpu/deviceBuffer.ts';
import type { Dispatch } from '../gpu/kernel.ts';
import { axpy, copy } from '../kernels/elementwise.ts';
import type { Tuning } from '../kernels/matmul.ts';
import { AlloyError } from '../util/errors.ts';
import type { Tensor } from './tensor.ts';

interface TapeEntry {
  readonly outputs: readonly Tensor[];
  readonly run: (gradients: Gradients) => void;
}

/**
 * The trace of a computation. Operations emit their forward dispatches at once and leave a backward rule on the
 * tape; `backward` walks the tape in reverse. The graph only exists until it is planned.
 */
export class Graph {
  readonly tuning: Tuning;
  readonly dispatches: Dispatch<Tensor>[] = [];
  #tape: TapeEntry[] = [];

  constructor(tuning: Tuning) {
    this.tuning = tuning;
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

  /** Leaves a backward rule for `outputs`; it runs if any of them has got a gradient. */
  onBackward(outputs: readonly Tensor[], run: (gradients: Gradients) => void): void {
    if (outputs.some((output) => output.needsGradient)) this.#tape.push({ outputs, run });
  }

  /** Emits the dispatches of the reverse walk. The loss operation has seeded the gradients it knows. */
  backward(): void {
    const gradients = new Gradients(this);
    for (const { outputs, run } of this.#tape.reverse()) {
      if (outputs.length === 0 || outputs.some((output) => gradients.has(output))) run(gradients);
    }
    this.#tape = [];
  }

  /** Leaves a rule that always runs, for the loss at the end of the graph. */
  onBackwardStart(run: (gradients: Gradients) => void): void {
    this.#tape.push({ outputs: [], run });
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

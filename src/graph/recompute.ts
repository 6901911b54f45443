/**
 * What the reverse walk works out again instead of keeping it from the forward pass. The kernels and their order are the
 * same, so are the numbers, to the bit.
 */
import type { Dispatch } from '../device/kernel.ts';
import type { Tensor } from './tensor.ts';

/**
 * - `off`: every value that a backward rule reads is kept.
 * - `light`: norms and gated activations are made again, each where the reverse walk first reads it: they cost no matrix
 *   product.
 * - `full`: of a layer only the input is kept; its forward pass is emitted once more in front of its backward pass (about
 *   a third more time).
 */
export type Recomputation = 'off' | 'light' | 'full';

/** The dispatches `first … end − 1` make `value`. */
export interface Cheap {
  readonly value: Tensor;
  readonly first: number;
  readonly end: number;
}

/** Tensors that a dispatch writes. */
export function written({ kernel, buffers }: Dispatch<Tensor>): Tensor[] {
  return kernel.buffers.flatMap(({ name, writable }) => {
    const tensor = writable ? buffers[name] : undefined;
    return tensor ? [tensor] : [];
  });
}

/** Takes dispatches out of `first … end − 1` that only write values which nothing reads afterwards. */
export function dropUnread(dispatches: Dispatch<Tensor>[], first: number, end: number): void {
  const read = new Set<Tensor>();
  for (const { buffers } of dispatches.slice(end))
    for (const tensor of Object.values(buffers)) read.add(tensor);
  for (let index = end - 1; index >= first; index--) {
    const one = dispatches[index];
    if (!one) continue;
    if (written(one).some((tensor) => tensor.home !== undefined || read.has(tensor))) {
      for (const tensor of Object.values(one.buffers)) read.add(tensor);
    } else dispatches.splice(index, 1);
  }
}

/**
 * Repeats the dispatches of cheap values in front of their first reader after `boundary` and lets all readers after it
 * read the copy, so that the value need not live until there. Other results of those dispatches are written again with
 * the same numbers.
 */
export function repeatCheap(dispatches: Dispatch<Tensor>[], cheap: readonly Cheap[], boundary: number): void {
  if (cheap.length === 0) return;
  const lastWrite = new Map<Tensor, number>();
  dispatches.forEach((one, index) => {
    for (const tensor of written(one)) lastWrite.set(tensor, index);
  });
  const recipes = new Map<Tensor, readonly Dispatch<Tensor>[]>();
  for (const { value, first, end } of cheap) {
    const recipe = dispatches.slice(first, end);
    const stays = recipe.every(({ buffers }) =>
      Object.values(buffers).every((tensor) => (lastWrite.get(tensor) ?? -1) < end),
    );
    if (stays) recipes.set(value, recipe);
  }
  const copies = new Map<Tensor, Tensor>();
  const replaced = (one: Dispatch<Tensor>): Dispatch<Tensor> => ({
    ...one,
    buffers: Object.fromEntries(
      Object.entries(one.buffers).map(([name, tensor]) => [name, copies.get(tensor) ?? tensor]),
    ),
  });
  const rest = dispatches.splice(boundary);
  for (const one of rest) {
    for (const tensor of Object.values(one.buffers)) {
      const recipe = recipes.get(tensor);
      if (!recipe || copies.has(tensor)) continue;
      copies.set(tensor, { ...tensor, name: `${tensor.name}.again` });
      dispatches.push(...recipe.map(replaced));
    }
    dispatches.push(replaced(one));
  }
}

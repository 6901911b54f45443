/**
 * jax-js uses the iterator helpers of ES2025, which Node has from version 22 on. This adds those it uses where they are
 * missing; it goes when the project no longer runs on Node 20.
 */
const prototype = Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]())) as Record<
  string,
  unknown
>;

const HELPERS = {
  *map<T, U>(this: Iterable<T>, transform: (value: T, index: number) => U): Generator<U> {
    let index = 0;
    for (const value of this) yield transform(value, index++);
  },
  *filter<T>(this: Iterable<T>, keep: (value: T, index: number) => boolean): Generator<T> {
    let index = 0;
    for (const value of this) if (keep(value, index++)) yield value;
  },
  toArray<T>(this: Iterable<T>): T[] {
    return [...this];
  },
  some<T>(this: Iterable<T>, holds: (value: T, index: number) => boolean): boolean {
    return [...this].some(holds);
  },
  every<T>(this: Iterable<T>, holds: (value: T, index: number) => boolean): boolean {
    return [...this].every(holds);
  },
  reduce<T, U>(this: Iterable<T>, combine: (sum: U, value: T, index: number) => U, start: U): U {
    return [...this].reduce(combine, start);
  },
};

for (const [name, value] of Object.entries(HELPERS)) {
  if (!(name in prototype))
    Object.defineProperty(prototype, name, { value, writable: true, configurable: true });
}

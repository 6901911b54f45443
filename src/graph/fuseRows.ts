/**
 * Brings together the dispatches of a step that writes one token, where launching them costs more than what they do:
 *
 *   products of the same x                        -> one dispatch (`rowProducts`)
 *   a norm that only such products read           -> in front of them (GPUs)
 *   gate and up with the gated activation of both -> behind them
 *   rope of q and of k, and the copy to the cache -> one dispatch (`ropeIntoCache`)
 *
 * It looks at dispatches alone, so families need not know of it; what it does not recognise stays as it was. The
 * numbers are the same but for rounding.
 */
import type { Tuning } from '../device/device.ts';
import type { Dispatch } from '../device/kernel.ts';
import type { Activation } from '../kernels/activation.ts';
import type { NTDispatch } from '../kernels/matmul.ts';
import { ropeIntoCache } from '../kernels/ropeIntoCache.ts';
import {
  fusingPays,
  MOST_ROWS,
  type RowProducts,
  rowProducts,
  rowProductsBuffers,
  takesNorm,
} from '../kernels/rowProducts.ts';
import { formatName } from '../kernels/weightFormat.ts';
import { required } from '../util/errors.ts';
import { written } from './recompute.ts';
import type { Tensor } from './tensor.ts';

type One = Dispatch<Tensor>;
type Product = NTDispatch<Tensor>['product'];

export interface FuseOptions {
  readonly tuning: Tuning;
  /** What a kernel may bind. */
  readonly storageBuffers: number;
}

/** The same computation in fewer dispatches, where that is faster. */
export function fuseRows(dispatches: readonly One[], options: FuseOptions): One[] {
  return fusingPays(options.tuning) ? fuseProducts(fuseCaches(dispatches), options) : [...dispatches];
}

function productOf(one: One | undefined): Product | undefined {
  return one && (one as Partial<NTDispatch<Tensor>>).product;
}

/** Whether `rowProducts` can do it: whole rows in, whole rows out, nothing added to what is there. */
function isPlain({ buffers, shape }: Product): boolean {
  const whole = (columns: { stride: number; offset: number } | undefined, width: number) =>
    columns === undefined || (columns.offset === 0 && (columns.stride === width || shape.m === 1));
  return (
    shape.m <= MOST_ROWS &&
    buffers.columnScale === undefined &&
    !shape.accumulate &&
    (shape.alpha ?? 1) === 1 &&
    shape.strategy === undefined &&
    whole(shape.x, shape.k) &&
    whole(shape.y, shape.n) &&
    whole(shape.residual, shape.n)
  );
}

function touches(one: One, tensor: Tensor): boolean {
  return Object.values(one.buffers).includes(tensor);
}

function writes(one: One, tensor: Tensor): boolean {
  return written(one).includes(tensor);
}

/** Whether `one` may run before all of `between`. */
function mayMoveUp(one: One, between: readonly One[]): boolean {
  return between.every((other) =>
    Object.values(one.buffers).every((tensor) =>
      writes(one, tensor) ? !touches(other, tensor) : !writes(other, tensor),
    ),
  );
}

function fuseProducts(dispatches: readonly One[], options: FuseOptions): One[] {
  const left: (One | undefined)[] = [...dispatches];
  /** Dispatches that touch a value, without those that are gone. */
  const touching = (tensor: Tensor) =>
    left.filter((one): one is One => one !== undefined && touches(one, tensor));
  for (let index = 0; index < left.length; index++) {
    const first = left[index];
    const product = productOf(first);
    if (!first || !product || !isPlain(product)) continue;
    const found = { first: index, others: alike(left, index, product, options.storageBuffers) };
    const members = [first, ...found.others.map((other) => required(left[other], 'product'))];
    const parts = members.map((member) => {
      const { buffers, shape } = required(productOf(member), 'product');
      const { weight, y, bias, residual } = buffers;
      return { n: shape.n, weight, y, bias, residual };
    });
    for (const other of found.others) left[other] = undefined;
    let products: RowProducts<Tensor> = {
      x: product.buffers.x,
      m: product.shape.m,
      k: product.shape.k,
      parts,
    };
    const gated = parts.length === 2 ? gateBehind(left, index, members, touching) : undefined;
    if (gated !== undefined) {
      const { kernel, buffers } = required(left[gated], 'gate');
      const [gate, up] = parts;
      if (gate && up) {
        const swap = buffers.g !== gate.y;
        const ordered = swap ? [up, gate] : [gate, up];
        const [opened] = ordered;
        const y = required(buffers.h, 'gated');
        products = {
          ...products,
          parts: [{ ...required(opened, 'gate'), y }, required(ordered[1], 'up')],
          gate: kernel.name.split('.').at(-1) as Activation,
        };
        left[gated] = undefined;
      }
    }
    const before = takesNorm(options.tuning) ? normBefore(left, index, members, touching) : undefined;
    if (before !== undefined) {
      const { buffers, params } = required(left[before], 'norm');
      const norm = {
        weight: required(buffers.w, 'weight'),
        eps: params.eps ?? 0,
        offset: params.offset ?? 0,
      };
      const folded = { ...products, x: required(buffers.x, 'x'), norm };
      if (rowProductsBuffers(folded) <= options.storageBuffers) {
        products = folded;
        left[before] = undefined;
      }
    }
    left[index] = rowProducts(products, options.tuning);
  }
  return left.filter((one): one is One => one !== undefined);
}

/** Up to two later products that go with the one at `index`. */
function alike(
  left: readonly (One | undefined)[],
  index: number,
  { buffers, shape }: Product,
  limit: number,
): number[] {
  const found: number[] = [];
  if (buffers.residual) return found;
  const parts = [{ ...buffers, n: shape.n }];
  for (let other = index + 1; other < left.length && found.length < 2; other++) {
    const one = left[other];
    if (!one) continue;
    const candidate = productOf(one);
    if (!candidate || candidate.buffers.x !== buffers.x || !isPlain(candidate)) {
      // What writes x ends it; so does a stretch of other work, which no family puts between.
      if (writes(one, buffers.x) || other > index + 16) break;
      continue;
    }
    const same =
      candidate.shape.k === shape.k &&
      candidate.shape.m === shape.m &&
      formatName(candidate.buffers.weight.format) === formatName(buffers.weight.format) &&
      (candidate.buffers.bias === undefined) === (buffers.bias === undefined) &&
      candidate.buffers.residual === undefined;
    const grown = [...parts, { ...candidate.buffers, n: candidate.shape.n }];
    const between = left
      .slice(index + 1, other)
      .filter((x): x is One => x !== undefined && !found.some((f) => left[f] === x));
    if (!same || rowProductsBuffers({ parts: grown }) > limit || !mayMoveUp(one, between)) continue;
    parts.push({ ...candidate.buffers, n: candidate.shape.n });
    found.push(other);
  }
  return found;
}

/** The gated activation of two products that nothing else reads. */
function gateBehind(
  left: readonly (One | undefined)[],
  index: number,
  members: readonly One[],
  touching: (tensor: Tensor) => One[],
): number | undefined {
  const [a, b] = members.map((member) => productOf(member)?.buffers.y);
  if (!a || !b || a.home || b.home) return undefined;
  if (productOf(members[0])?.shape.n !== productOf(members[1])?.shape.n) return undefined;
  const at = left.findIndex(
    (one, place) =>
      place > index && one?.kernel.name.startsWith('gated.forward.') && touches(one, a) && touches(one, b),
  );
  const gated = left[at];
  if (!gated || gated.buffers.g === gated.buffers.u) return undefined;
  const others = (tensor: Tensor) =>
    touching(tensor).filter((one) => one !== gated && !members.includes(one));
  const between = left.slice(index + 1, at).filter((one): one is One => one !== undefined);
  const h = gated.buffers.h;
  if (!h || others(a).length + others(b).length > 0 || between.some((one) => touches(one, h)))
    return undefined;
  return at;
}

/** The norm of one row whose result only these products read. */
function normBefore(
  left: readonly (One | undefined)[],
  index: number,
  members: readonly One[],
  touching: (tensor: Tensor) => One[],
): number | undefined {
  const shape = productOf(members[0])?.shape;
  const x = productOf(members[0])?.buffers.x;
  if (!x || x.home || shape?.m !== 1) return undefined;
  const at = left.findLastIndex((one, place) => place < index && one !== undefined && writes(one, x));
  const norm = left[at];
  if (!norm?.kernel.name.startsWith('rmsNorm.forward.') || norm.buffers.residual) return undefined;
  if (norm.params.rows !== 1 || norm.params.width !== shape.k) return undefined;
  const { x: source, y, rstd } = norm.buffers;
  if (!source || !rstd || y !== x || rstd.home) return undefined;
  const others = (tensor: Tensor) => touching(tensor).filter((one) => one !== norm && !members.includes(one));
  if (others(x).length + others(rstd).length > 0) return undefined;
  const between = left.slice(at + 1, index).filter((one): one is One => one !== undefined);
  return [...members, ...between].some((one) => writes(one, source)) ? undefined : at;
}

/** `rope` on q, `rope` on k and `cacheWrite`, one right behind the other. */
function fuseCaches(dispatches: readonly One[]): One[] {
  const result: One[] = [];
  for (let index = 0; index < dispatches.length; index++) {
    const [q, k, copy] = dispatches.slice(index, index + 3);
    const rest = dispatches.slice(index + 3);
    const fused = q && k && copy ? fuseCache(q, k, copy, rest) : undefined;
    if (fused) index += 2;
    const kept = fused ?? dispatches[index];
    if (kept) result.push(kept);
  }
  return result;
}

function fuseCache(q: One, k: One, copy: One, rest: readonly One[]): One | undefined {
  const names = [q, k, copy].map(({ kernel }) => kernel.name).join(' ');
  if (names !== 'rope.cached rope.cached attention.cached.write') return undefined;
  const { tokens = 0, heads = 0, headWidth = 0, half = 0 } = q.params;
  const { heads: kvHeads = 0 } = k.params;
  const alike = (['tokens', 'headWidth', 'half', 'sign'] as const).every(
    (name) => q.params[name] === k.params[name],
  );
  const whole = [q, k].every(
    ({ params }) => params.offset === 0 && params.stride === (params.heads ?? 0) * headWidth,
  );
  const table = q.buffers.table;
  if (!alike || !whole || q.params.sign !== 1 || headWidth % 2 !== 0) return undefined;
  if (!table || table !== k.buffers.table || q.buffers.state !== k.buffers.state) return undefined;
  const { k: keys, v, state, kCache, vCache } = copy.buffers;
  if (!keys || !v || !state || !kCache || !vCache || !q.buffers.x) return undefined;
  if (keys !== k.buffers.x || state !== q.buffers.state || keys.home || q.buffers.x === keys)
    return undefined;
  if (rest.some((one) => touches(one, keys))) return undefined;
  return ropeIntoCache(
    { table, state, q: q.buffers.x, k: keys, v, kCache, vCache },
    { tokens, heads, kvHeads, headWidth, half, capacity: copy.params.capacity ?? 0 },
  );
}

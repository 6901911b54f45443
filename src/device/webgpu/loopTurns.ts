/**
 * How often the innermost loop of a kernel turns in all, read off its WGSL: a first idea of how long a workgroup takes,
 * for dispatches that were never timed. Bounds are followed through `let` and `var` to the parameters.
 */
import type { Kernel } from '../kernel.ts';

interface Loop {
  /** Parameters in its bound. */
  readonly bounds: readonly string[];
  readonly step: number;
  /** The loop around it. */
  readonly outer: Loop | undefined;
}

const loopsOf = new WeakMap<Kernel, readonly Loop[]>();

/** @returns 1 for a kernel without a loop over anything that its parameters say; too much rather than too little */
export function loopTurns(kernel: Kernel, params: Readonly<Record<string, number>>): number {
  let loops = loopsOf.get(kernel);
  if (!loops) {
    loops = findLoops(kernel.wgsl);
    loopsOf.set(kernel, loops);
  }
  return Math.max(1, ...loops.map((loop) => turnsOf(loop, params)));
}

function turnsOf({ bounds, step, outer }: Loop, params: Readonly<Record<string, number>>): number {
  const own = Math.max(1, ...bounds.map((name) => (params[name] ?? 0) / step));
  return outer ? own * turnsOf(outer, params) : own;
}

function findLoops(wgsl: string): Loop[] {
  const meanings = new Map<string, string>();
  for (const [, name = '', value = ''] of wgsl.matchAll(/\b(?:let|var) (\w+)[^=;]*=([^;]*);/gu)) {
    meanings.set(name, `${meanings.get(name) ?? ''} ${value}`);
  }
  const loops: (Loop & { readonly end: number })[] = [];
  for (const found of wgsl.matchAll(/\bfor \([^;{]*;([^;{]*);([^;{]*)\{/gu)) {
    const [head, until = '', onwards = ''] = found;
    // Strides of the whole grid: more workgroups, fewer turns.
    if (/params|groups/u.test(onwards)) continue;
    loops.push({
      bounds: paramsIn(until, meanings),
      step: Number(/\+= (\d+)u/u.exec(onwards)?.[1] ?? 1),
      outer: loops.findLast(({ end }) => end > found.index),
      end: endOfBlock(wgsl, found.index + head.length),
    });
  }
  return loops;
}

/** Where the block ends that was opened just before `from`. */
function endOfBlock(wgsl: string, from: number): number {
  let depth = 1;
  for (let at = from; at < wgsl.length; at++) {
    if (wgsl[at] === '{') depth++;
    else if (wgsl[at] === '}' && --depth === 0) return at;
  }
  return wgsl.length;
}

/** A few at most, whatever the parameters say. */
const AT_MOST = /\bmin\(\d+u?, [^()]*\)/gu;

function paramsIn(text: string, meanings: ReadonlyMap<string, string>, seen = new Set<string>()): string[] {
  const open = text.replace(AT_MOST, '');
  const found = [...open.matchAll(/\bparams\.(\w+)/gu)].map(([, name = '']) => name);
  for (const [name] of open.matchAll(/(?<![.\w])[a-z]\w*/gu)) {
    const meaning = meanings.get(name);
    if (meaning === undefined || seen.has(name)) continue;
    seen.add(name);
    found.push(...paramsIn(meaning, meanings, seen));
  }
  return found;
}

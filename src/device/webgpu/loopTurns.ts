/**
 * How often the longest loop of a kernel turns, read off its WGSL: a first idea of how long a workgroup takes, for
 * dispatches that were never timed. Bounds are followed through `let` and `var` to the parameters.
 */
import type { Kernel } from '../kernel.ts';

interface Loop {
  /** Parameters in its bound. */
  readonly bounds: readonly string[];
  readonly step: number;
}

const loopsOf = new WeakMap<Kernel, readonly Loop[]>();

/** @returns 1 for a kernel without a loop over anything that its parameters say; too much rather than too little */
export function loopTurns(kernel: Kernel, params: Readonly<Record<string, number>>): number {
  let loops = loopsOf.get(kernel);
  if (!loops) {
    loops = findLoops(kernel.wgsl);
    loopsOf.set(kernel, loops);
  }
  let most = 1;
  for (const { bounds, step } of loops) {
    for (const name of bounds) most = Math.max(most, (params[name] ?? 0) / step);
  }
  return most;
}

function findLoops(wgsl: string): Loop[] {
  const meanings = new Map<string, string>();
  for (const [, name = '', value = ''] of wgsl.matchAll(/\b(?:let|var) (\w+)[^=;]*=([^;]*);/gu)) {
    meanings.set(name, `${meanings.get(name) ?? ''} ${value}`);
  }
  const loops: Loop[] = [];
  for (const [, until = '', onwards = ''] of wgsl.matchAll(/\bfor \([^;{]*;([^;{]*);([^;{]*)\{/gu)) {
    // Strides of the whole grid: more workgroups, fewer turns.
    if (/params|groups/u.test(onwards)) continue;
    loops.push({ bounds: paramsIn(until, meanings), step: Number(/\+= (\d+)u/u.exec(onwards)?.[1] ?? 1) });
  }
  return loops;
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

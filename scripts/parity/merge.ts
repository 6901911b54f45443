import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Checks } from './checks.ts';
import { runMergeCases } from './mergeCases.ts';

/** Merge methods against the recorded worked examples of `merge.json`. */
export function checkMerge(goldens: string, checks: Checks): void {
  const path = join(goldens, 'merge.json');
  if (!existsSync(path)) return;
  for (const result of runMergeCases(JSON.parse(readFileSync(path, 'utf8')), path)) {
    const name = `merge ${result.name}`;
    if (result.outcome === 'skipped') checks.skip(name, 'the method is not built yet');
    else
      checks.add(
        name,
        result.outcome === 'passed',
        `off by ${result.difference}, allowed ${result.tolerance}`,
      );
  }
}

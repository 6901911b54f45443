import { AlloyError } from './errors.ts';

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
};

/** An amount of memory in words, e.g. `812 MB` or `1.53 GB` (decimal units). */
export function formatBytes(bytes: number): string {
  if (bytes < 999.5) return `${Math.round(bytes)} B`;
  // The bounds are where a unit's rounding would reach the next digit.
  if (bytes < 99_950) return `${(bytes / 1e3).toFixed(1)} kB`;
  if (bytes < 999_500) return `${Math.round(bytes / 1e3)} kB`;
  if (bytes < 99_950_000) return `${(bytes / 1e6).toFixed(1)} MB`;
  if (bytes < 999_500_000) return `${Math.round(bytes / 1e6)} MB`;
  return `${(bytes / 1e9).toFixed(2)} GB`;
}

/** Reads `1.5GB`, `800 MiB` or a number of bytes. @throws AlloyError `bad-argument` */
export function parseBytes(text: string, what: string): number {
  const [, number = '', unit = ''] = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/iu.exec(text) ?? [];
  const factor = UNITS[unit.toLowerCase()];
  if (number === '' || factor === undefined) {
    throw new AlloyError(
      'bad-argument',
      `${what}: "${text}" is not an amount of memory; write it like 1.5GB or 800MiB.`,
    );
  }
  return Math.floor(Number(number) * factor);
}

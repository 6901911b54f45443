import { parseArgs } from 'node:util';
import { AlloyError } from '../src/util/errors.ts';

const PARTS = ['step', 'lora', 'matmul', 'decode', 'cold'] as const;
export type Part = (typeof PARTS)[number];

export function usage(engines: readonly string[]): string {
  return `npm run bench [-- OPTIONS]       the engine on WebGPU against others
npm run bench -- wasm [--seconds N | --quick]  the WASM device against the WebAssembly of others
  --only a,b            of ${PARTS.join(', ')} (default: all)
  --engines a,b         of ${engines.join(', ')} (default: all)
  --seconds N           time for the rounds of a train step (default 60)
  --quick               fewer rounds and a shorter text, without the cold start; nothing goes to docs/performance.md
  --large               also a large train step and 4096-wide products (default on a real GPU)
  --profile             where the time of our own steps goes, by kernel
  --out FILE            where the JSON goes; the picture lies beside it (default bench.json)
  --pack DIR            instead of measuring, pack all of it for a bare Linux machine with a GPU driver`;
}

export interface Options {
  readonly parts: ReadonlySet<Part>;
  readonly engines: readonly string[];
  readonly seconds: number;
  readonly quick: boolean;
  readonly large: boolean;
  readonly profile: boolean;
  readonly out: string;
  /** Whether everything is measured, so that the results are worth keeping. */
  readonly whole: boolean;
}

function list<T extends string>(
  value: string | undefined,
  known: readonly T[],
  option: string,
): readonly T[] {
  const names = value === undefined ? known : value.split(',');
  const unknown = names.find((name) => !known.includes(name as T));
  if (unknown !== undefined) {
    throw new AlloyError('bad-argument', `--${option} has no "${unknown}"; choose from ${known.join(', ')}.`);
  }
  return names as readonly T[];
}

/** @throws AlloyError `bad-argument` naming the option */
export function readOptions(args: string[], engines: readonly string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      only: { type: 'string' },
      engines: { type: 'string' },
      seconds: { type: 'string' },
      quick: { type: 'boolean', default: false },
      large: { type: 'boolean', default: false },
      profile: { type: 'boolean', default: false },
      out: { type: 'string', default: 'bench.json' },
    },
  });
  const { quick, large, profile, out } = values;
  const seconds = Number(values.seconds ?? (quick ? 5 : 60));
  if (!(seconds >= 0))
    throw new AlloyError('bad-argument', `--seconds ${values.seconds} is not a number of seconds.`);
  return {
    parts: new Set(list(values.only, PARTS, 'only')),
    engines: list(values.engines, engines, 'engines'),
    seconds,
    quick,
    large,
    profile,
    out,
    whole: values.only === undefined && values.engines === undefined && !quick,
  };
}

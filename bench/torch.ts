/** PyTorch on the same GPU, where a Python with it is found; `bench/peers/torch_steps.py` runs the steps. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DECODE, LORA } from './decodeCase.ts';
import { LARGE, SMALL } from './trainCase.ts';

export interface Torch {
  readonly python?: string;
  readonly version?: string;
  /** Why nothing is measured with it. */
  readonly reason?: string;
}

const ASK = 'import torch; print(torch.__version__ if torch.cuda.is_available() else "")';
const SCRIPT = join('bench', 'peers', 'torch_steps.py');

function output(command: string, args: readonly string[]): string | undefined {
  try {
    return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return undefined;
  }
}

/** The first of `ALLOY_PYTHON`, `python3` and `python` that has PyTorch with a GPU. */
export function findTorch(software: boolean): Torch {
  if (software) return { reason: 'PyTorch is compared on real GPUs only' };
  if (!existsSync(SCRIPT)) return { reason: 'PyTorch is measured from the repository only' };
  for (const python of [process.env.ALLOY_PYTHON, 'python3', 'python']) {
    const version = python && output(python, ['-c', ASK]);
    if (python && version) return { python, version };
  }
  return { reason: 'no Python with PyTorch and CUDA was found; name one in ALLOY_PYTHON' };
}

/** Milliseconds a step of the cases that we have measured too. */
export function measureTorch(
  { python, reason }: Torch,
  names: readonly string[],
): { ms: Record<string, number>; reason?: string } {
  if (!python) return { ms: {}, reason: reason ?? 'PyTorch was not found' };
  const cases = {
    [SMALL.name]: SMALL,
    [LARGE.name]: LARGE,
    lora: { ...LORA, model: undefined, config: DECODE.config },
  };
  const wanted = Object.entries(cases).filter(([name]) => names.includes(name));
  const text = output(python, [SCRIPT, JSON.stringify(Object.fromEntries(wanted))]);
  const line = text?.split('\n').at(-1);
  if (!line) return { ms: {}, reason: 'PyTorch failed' };
  return { ms: JSON.parse(line) as Record<string, number> };
}

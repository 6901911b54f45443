/**
 * Where a step's numbers first stopped being finite. The guard of the trainer keeps the parameters as they were before the
 * step, so the step is computed again, micro-batch by micro-batch, and looked at in the order in which it is computed:
 * losses first, then gradients from the last layer to the first.
 */
import type { Parameters } from '../models/parameters.ts';
import type { MicroBatch, Trainer } from './trainer.ts';

export interface NumberFault {
  /** `norm`: every element is finite, but not the sum of their squares. */
  readonly kind: 'loss' | 'gradient' | 'norm';
  /** Which micro-batch of the step, and which sequence in it. */
  readonly micro: number;
  readonly sequence: number;
  /** `loss`: the position in the sequence, and which term. */
  readonly position?: number;
  readonly term?: 'supervised' | 'distillation';
  /** `gradient` and `norm`: the parameter's name. */
  readonly parameter?: string;
  /** What was found there: NaN, an infinity, or the largest gradient element. */
  readonly value: number;
}

/** @returns undefined where the step is finite after all */
export async function findNumberFault(
  trainer: Trainer,
  parameters: Parameters,
  micros: readonly MicroBatch[],
): Promise<NumberFault | undefined> {
  let largest: NumberFault | undefined;
  for (const [micro, batch] of micros.entries()) {
    await trainer.accumulate([batch]);
    const loss = lossFault(await trainer.rowLosses(), batch, micro);
    if (loss) return loss;
    const whole = await gradientFault(parameters);
    if (whole.kind === 'norm') {
      if (!largest || Math.abs(whole.value) > Math.abs(largest.value)) {
        largest = { ...whole, micro, sequence: 0 };
      }
      continue;
    }
    for (let sequence = 0; sequence < sequences(batch); sequence++) {
      await trainer.accumulate([onlySequence(batch, sequence)]);
      const alone = await gradientFault(parameters);
      if (alone.kind === 'gradient') return { ...alone, micro, sequence };
    }
    return { ...whole, micro, sequence: 0 };
  }
  return largest;
}

const sequences = ({ tokens, length }: MicroBatch) => tokens.length / length;

function lossFault(
  losses: Float32Array,
  { length, weights }: MicroBatch,
  micro: number,
): NumberFault | undefined {
  const at = losses.findIndex(
    (loss, index) => weights[index] !== 0 && !Number.isFinite(loss * (weights[index] ?? 0)),
  );
  if (at < 0) return undefined;
  const row = Math.floor(at / 2);
  return {
    kind: 'loss',
    micro,
    sequence: Math.floor(row / length),
    position: row % length,
    term: at % 2 === 0 ? 'supervised' : 'distillation',
    value: losses[at] ?? Number.NaN,
  };
}

type GradientFault = Pick<NumberFault, 'kind' | 'parameter' | 'value'>;

async function gradientFault(parameters: Parameters): Promise<GradientFault> {
  let largest: GradientFault = { kind: 'norm', value: 0 };
  for (const parameter of [...parameters.names].reverse()) {
    for (const value of await parameters.read(parameter, 'g')) {
      if (!Number.isFinite(value)) return { kind: 'gradient', parameter, value };
      if (Math.abs(value) > Math.abs(largest.value)) largest = { kind: 'norm', parameter, value };
    }
  }
  return largest;
}

/** The micro-batch with the weights of all other sequences 0. */
function onlySequence(batch: MicroBatch, sequence: number): MicroBatch {
  const words = 2 * batch.length;
  const weights = new Float32Array(batch.weights.length);
  weights.set(batch.weights.subarray(sequence * words, (sequence + 1) * words), sequence * words);
  return { ...batch, weights };
}

import type { Device } from '../device/device.ts';
import { AlloyError } from '../util/errors.ts';
import { TimeLeft } from '../util/timeLeft.ts';
import type { ArtifactStore } from './artifactStore.ts';
import type { JobControl } from './jobControl.ts';
import type { OpenModel } from './openModel.ts';
import type { RunEvent, StageName } from './protocol.ts';

/** What the stages of a run work with; the command line and the worker each make one. */
export interface RunContext {
  readonly device: Device;
  readonly store: ArtifactStore;
  readonly control: JobControl;
  /** Resolves a recipe's model reference. */
  openModel(reference: string): Promise<OpenModel>;
  /** The text of a data file that a recipe names. */
  readText(path: string): Promise<string>;
  onEvent(event: RunEvent): void;
  /** Whether a stage whose result is not in the store ends the run instead of working it out. */
  readonly keptOnly?: boolean;
  /** Tokens that go through a model at once while texts are scored; by default what suits the adapter. */
  readonly scoreTokens?: number | undefined;
}

/** The option of a scorer that a run's context asks for. */
export function scoreBatch({ scoreTokens }: Pick<RunContext, 'scoreTokens'>): { batchTokens?: number } {
  return scoreTokens === undefined ? {} : { batchTokens: scoreTokens };
}

/**
 * To be called by a stage before it works something out that the store lacks.
 * @throws AlloyError `cancelled` in a run that only takes what is kept
 */
export function beginWork({ keptOnly }: Pick<RunContext, 'keptOnly'>): void {
  if (keptOnly) {
    throw new AlloyError('cancelled', 'Not every result of this recipe is kept; run it to have the rest.');
  }
}

/** Tells how far a stage is and how long it will take; `update` also lets a pause or a stop in. */
export class StageProgress {
  readonly #context: RunContext;
  readonly #stage: StageName;
  readonly #label: string;
  readonly #total: number;
  readonly #clock: TimeLeft;

  /** @param done what an earlier run has finished */
  constructor(context: RunContext, stage: StageName, label: string, total: number, done = 0) {
    this.#context = context;
    this.#stage = stage;
    this.#label = label;
    this.#total = total;
    this.#clock = new TimeLeft(total);
    context.onEvent({ kind: 'stage', stage, label, cached: false });
    this.tell(done);
  }

  tell(done: number): void {
    const secondsLeft = this.#clock.update(done);
    this.#context.onEvent({
      kind: 'progress',
      stage: this.#stage,
      label: this.#label,
      done,
      total: this.#total,
      secondsLeft,
    });
  }

  async update(done: number): Promise<void> {
    this.tell(done);
    await this.#context.control.checkpoint();
  }
}

import type { Device } from '../device/device.ts';
import { AlloyError } from '../util/errors.ts';
import type { ChosenDevice } from './deviceChoice.ts';
import { ModelShelf } from './modelShelf.ts';
import type { OpenModel } from './openModel.ts';

/** What models that are not part of a fusion may take together. */
const SHELF_BYTES = 1536 * 1024 * 1024;

/** A device with the models on it, until it is lost: then every call that waits for it fails. */
export class DeviceSession {
  readonly device: Device;
  readonly chosen: ChosenDevice;
  readonly shelf: ModelShelf;
  /** Resolves with the reason when the device is lost, or given up after an error it cannot recover from. */
  readonly lost: Promise<string>;
  readonly #waiting = new Set<(reason: unknown) => void>();
  #over: string | undefined;
  #end: (reason: string) => void = () => undefined;

  constructor(chosen: ChosenDevice, open: (name: string) => Promise<OpenModel>) {
    const { device } = chosen;
    this.device = device;
    this.chosen = chosen;
    this.shelf = new ModelShelf(device, open, SHELF_BYTES);
    this.lost = new Promise((resolve) => {
      this.#end = (reason) => {
        if (this.#over !== undefined) return;
        this.#over = reason;
        const error = deviceLost(reason);
        for (const reject of this.#waiting) reject(error);
        this.#waiting.clear();
        resolve(reason);
      };
    });
    device.lost.then((reason) => this.#end(reason));
  }

  /** Why it is over; undefined while it is not. */
  get over(): string | undefined {
    return this.#over;
  }

  /** Runs a job on the device. @throws AlloyError `device-lost` as soon as it is lost, whatever the job waits for */
  run<T>(job: (session: DeviceSession) => Promise<T>): Promise<T> {
    if (this.#over !== undefined) return Promise.reject(deviceLost(this.#over));
    return new Promise<T>((resolve, reject) => {
      this.#waiting.add(reject);
      job(this)
        .then(resolve, (error) => {
          reject(this.#over === undefined ? error : deviceLost(this.#over));
          this.#giveUpIfBroken();
        })
        .finally(() => this.#waiting.delete(reject));
    });
  }

  /** Gives the device up; a session that is over stays as it is. */
  close(reason: string): void {
    this.#end(reason);
    this.device.dispose();
  }

  /** A device that reported an error repeats it at every check: nothing that runs on it can be trusted any more. */
  #giveUpIfBroken(): void {
    try {
      this.device.check();
    } catch (error) {
      this.close(error instanceof Error ? error.message : String(error));
    }
  }
}

function deviceLost(reason: string): AlloyError {
  return new AlloyError(
    'device-lost',
    `The device was lost (${reason.replace(/[.\s]+$/u, '')}); open it again and go on from the last checkpoint.`,
  );
}

import { isOnProcessor } from '../device/device.ts';
import { AlloyError } from '../util/errors.ts';
import type { DeviceChoice } from './deviceChoice.ts';
import { DeviceSession } from './deviceSession.ts';
import type { Host } from './host.ts';
import type { OpenModel } from './openModel.ts';
import type { DeviceReport } from './protocol.ts';

interface Keeping {
  openModel(name: string): Promise<OpenModel>;
  /** Hears that a device is gone: what was on its way from it will never arrive. */
  onLost(): void;
}

/** The one device that is open, of the kind that was chosen. */
export class SessionKeeper {
  readonly #host: Pick<Host, 'openDevice'>;
  readonly #keeping: Keeping;
  #session: Promise<DeviceSession> | undefined;
  #choice: DeviceChoice = 'auto';

  constructor(host: Pick<Host, 'openDevice'>, keeping: Keeping) {
    this.#host = host;
    this.#keeping = keeping;
  }

  /**
   * Opens the device that is chosen, by default as before. One that is open is closed when another choice is made.
   * @param busy whether a run would be lost with it
   * @throws AlloyError `no-webgpu` where no device can be had; `bad-argument` while it is busy
   */
  async open(choice: DeviceChoice = this.#choice, busy = false): Promise<DeviceReport> {
    const before = await this.#session?.catch(() => undefined);
    if (before && (before.over !== undefined || choice !== this.#choice)) {
      if (before.over === undefined && busy)
        throw new AlloyError(
          'bad-argument',
          'A fusion is running; stop it before you choose another device.',
        );
      this.#session = undefined;
      before.close('another device was chosen');
    }
    this.#choice = choice;
    const { device, chosen } = await this.opened();
    const { name, info, limits } = device;
    const { kind, why, ways } = chosen;
    return {
      name,
      kind,
      choice,
      why,
      ways,
      software: isOnProcessor(info),
      features: [...info.features],
      bindingBytes: limits.bindingBytes,
      bufferBytes: limits.bufferBytes,
    };
  }

  /** The device, opened when it is first needed. After a loss only `open` opens another. */
  opened(): Promise<DeviceSession> {
    this.#session ??= this.#begin().catch((error) => {
      this.#session = undefined;
      throw error;
    });
    return this.#session;
  }

  async #begin(): Promise<DeviceSession> {
    const chosen = await this.#host.openDevice(this.#choice);
    const session = new DeviceSession(chosen, (name) => this.#keeping.openModel(name));
    session.lost.then(() => this.#keeping.onLost());
    return session;
  }
}

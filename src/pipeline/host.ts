import type { Storage } from '../storage/storage.ts';
import type { FileSource } from '../util/fileSource.ts';
import type { ChosenDevice, DeviceChoice } from './deviceChoice.ts';

/** What the engine needs of the place it runs in: a worker of the studio, or Node. */
export interface Host {
  /** The device that was chosen, or another one in its place. @throws AlloyError `no-webgpu` where there is none */
  openDevice(choice: DeviceChoice): Promise<ChosenDevice>;
  /** A file that comes with the project, by its path there (`public/models/index.json`); null where there is none. */
  openFile(path: string): Promise<FileSource | null>;
  /** Where results of stages are kept. */
  storage(): Promise<Storage>;
}

import type { Device } from '../device/device.ts';
import type { Storage } from '../storage/storage.ts';
import type { FileSource } from '../util/fileSource.ts';

/** What the engine needs of the place it runs in: a worker of the studio, or Node. */
export interface Host {
  /** @throws AlloyError `no-webgpu` */
  openDevice(): Promise<Device>;
  /** A file that comes with the project, by its path there (`public/models/index.json`); null where there is none. */
  openFile(path: string): Promise<FileSource | null>;
  /** Where results of stages are kept. */
  storage(): Promise<Storage>;
}

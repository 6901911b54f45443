import { WasmDevice } from '../device/wasm/wasmDevice.ts';
import { webWasmHost } from '../device/wasm/webWasmHost.ts';
import { lookForAdapter } from '../device/webgpu/adapter.ts';
import { WebGpuDevice } from '../device/webgpu/webGpuDevice.ts';
import type { TileStore } from '../kernels/matmulTiles.ts';
import { httpSource } from '../storage/httpSource.ts';
import { MemoryStorage } from '../storage/memoryStorage.ts';
import { OpfsStorage } from '../storage/opfsStorage.ts';
import type { Storage } from '../storage/storage.ts';
import { AlloyError } from '../util/errors.ts';
import { type DeviceWays, openChosen } from './deviceChoice.ts';
import type { Host } from './host.ts';
import { tuned } from './tuned.ts';

/** Below this the browser's storage is no place for a run (private windows); its results stay in memory. */
const LEAST_STORAGE_BYTES = 64 * 1024 * 1024;
const STORAGE_FOLDER = 'alloy';
const TILES = 'tuning/tiles.json';
/** What kernels rely on; every adapter that conforms to WebGPU has it. */
const NEEDED_BINDING_BYTES = 128 * 1024 * 1024;
const PUBLIC = 'public/';

/** @param base address of the application's folder, with a slash at its end */
export function browserHost(base: string): Host {
  return {
    openDevice: (choice) => openChosen(choice, WAYS),
    openFile(path) {
      const place = path.startsWith(PUBLIC) ? path.slice(PUBLIC.length) : path;
      return httpSource(new URL(place, base).href, path);
    },
    storage: openStorage,
  };
}

const WAYS: DeviceWays = {
  look: () => lookForAdapter(),
  async webgpu() {
    const device = await WebGpuDevice.open();
    const { bindingBytes } = device.limits;
    if (bindingBytes >= NEEDED_BINDING_BYTES) return tuned(device, tileStore);
    device.dispose();
    throw new AlloyError(
      'unsupported',
      `This adapter binds at most ${Math.floor(bindingBytes / 2 ** 20)} MiB (maxStorageBufferBindingSize); Alloy needs 128 MiB.`,
    );
  },
  wasm: () => WasmDevice.open(webWasmHost()),
};

/** Tiles are kept beside the models; where there is no storage that lasts, the defaults stay. */
const tileStore: TileStore = {
  async read() {
    const storage = await OpfsStorage.open(STORAGE_FOLDER);
    if (!(await storage.exists(TILES))) return undefined;
    const file = await storage.open(TILES);
    return new TextDecoder().decode(await file.read(0, file.bytes));
  },
  async write(text) {
    const writer = await (await OpfsStorage.open(STORAGE_FOLDER)).create(TILES);
    await writer.write(new TextEncoder().encode(text));
    await writer.commit();
  },
};

async function openStorage(): Promise<Storage> {
  try {
    const storage = await OpfsStorage.open(STORAGE_FOLDER);
    const free = await storage.freeBytes();
    if (free === null || free >= LEAST_STORAGE_BYTES) return storage;
    // Where downloaded models have filled it they must be found again, to be deleted.
    if ((await storage.list()).length > 0) return storage;
  } catch {
    // Some private windows have none.
  }
  return new MemoryStorage();
}

/** The page in which an engine is measured as browsers run it: `pageEngine.ts` opens it and asks. */
import { WasmDevice } from '../../src/device/wasm/wasmDevice.ts';
import { webWasmHost } from '../../src/device/wasm/webWasmHost.ts';
import type { BenchEngine } from '../engine.ts';
import { ourEngine } from '../ours.ts';
import { answering } from '../requests.ts';

const ENGINES: Readonly<Record<string, () => Promise<BenchEngine>>> = {
  alloy: async () => ourEngine(await WasmDevice.open(webWasmHost())),
  'jax-js': async () => (await import('../peers/jaxjs.ts')).openJaxJs('wasm'),
};

const name = new URLSearchParams(location.search).get('engine') ?? '';
Object.assign(globalThis, {
  answer: answering(async () => {
    const engine = await ENGINES[name]?.();
    if (!engine) throw new Error(`there is no engine "${name}"`);
    return engine;
  }),
});

/** The studio's worker: owns the GPU, the models and the runs. */
import { expose } from 'comlink';
import onnxWasm from 'onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm?url';
import { provideOnnxHost } from '../util/onnxHost.ts';
import { browserHost } from './browserHost.ts';
import { crossing } from './crossing.ts';
import { StudioEngine } from './studioEngine.ts';
import { carryErrorCodes } from './wireErrors.ts';

// Built, this script lies one folder below the application; the development server serves it from the source tree.
const base = new URL(import.meta.env.DEV ? '/' : '../', self.location.href).href;
carryErrorCodes();
provideOnnxHost({ wasm: async () => new URL(onnxWasm, self.location.href).href });
expose(crossing(new StudioEngine(browserHost(base))));

/**
 * onnxruntime-web on its WebAssembly execution provider, as it is installed: bundled, it cannot start its threads in Node.
 */
import { createRequire } from 'node:module';
import type * as Ort from 'onnxruntime-web';
import type { BenchEngine, MatmulCase, MatmulRunner } from '../engine.ts';
import { matmulInput } from '../matmulCase.ts';
import type { OrtWeights } from '../onnxDecoder.ts';
import { matmulModel } from '../onnxModel.ts';
import { openOrtDecode } from './ortDecode.ts';

async function openMatmul(ort: typeof Ort, matmulCase: MatmulCase): Promise<MatmulRunner> {
  const session = await ort.InferenceSession.create(matmulModel(matmulCase), {
    executionProviders: ['wasm'],
  });
  const x = new ort.Tensor('float32', matmulInput(matmulCase), [matmulCase.rows, matmulCase.inputs]);
  return {
    async run(count) {
      for (let index = 0; index < count; index++) (await session.run({ x })).y?.dispose();
    },
    async firstRow() {
      const { y } = await session.run({ x });
      if (!y) throw new Error('the model has no output y');
      return Float32Array.from((y.data as Float32Array).slice(0, matmulCase.outputs));
    },
  };
}

export async function openOrtWasm(threads: number, weights: OrtWeights = 'q4'): Promise<BenchEngine> {
  const ort = createRequire(import.meta.url)('onnxruntime-web') as typeof Ort;
  ort.env.wasm.numThreads = threads;
  return {
    name: 'onnxruntime-web',
    version: ort.env.versions.web ?? '',
    openMatmul: (matmulCase) => openMatmul(ort, matmulCase),
    openDecode: (decodeCase) =>
      openOrtDecode(ort, { executionProviders: ['wasm'] }, 'cpu', decodeCase, weights),
  };
}

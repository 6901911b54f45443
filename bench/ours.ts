/** Alloy's own engine: train steps, generation and the matrix product kernel. */
import { WebGpu } from '../src/gpu/webGpu.ts';
import { matmulNT } from '../src/kernels/matmul.ts';
import type { BenchEngine, MatmulCase, MatmulRunner } from './engine.ts';
import { matmulInput, matmulWeights, packedWeights } from './matmulCase.ts';
import { openDecode } from './oursDecode.ts';
import { openLora, openStep } from './oursTrain.ts';
import { watch } from './watch.ts';

export async function openOurs(): Promise<BenchEngine> {
  const gpu = await WebGpu.open();
  const watched = watch(gpu);
  const fresh = <T>(open: () => T): T => {
    watched.reset();
    return open();
  };
  return {
    name: 'alloy',
    version: 'this tree',
    openStep: (trainCase) => fresh(() => openStep(gpu, watched, trainCase)),
    openLora: (loraCase) => fresh(() => openLora(gpu, watched, loraCase)),
    openDecode: (decodeCase) => fresh(() => openDecode(gpu, decodeCase)),
    openMatmul: async (matmulCase) => fresh(() => openMatmul(gpu, matmulCase)),
    profile: () => watched.profile(),
  };
}

function openMatmul(gpu: WebGpu, matmulCase: MatmulCase): MatmulRunner {
  const { rows: m, outputs: n, inputs: k } = matmulCase;
  const x = gpu.createFrom(matmulInput(matmulCase), 'x');
  const y = gpu.createBuffer(4 * m * n, 'y');
  const weight = matmulCase.weights === 'f32' ? f32Weight(gpu, matmulCase) : q4Weight(gpu, matmulCase);
  const product = matmulNT({ x, weight, y }, { m, n, k }, gpu.info.software ? 'software' : 'gpu');
  const program = gpu.record([product], matmulCase.name);
  return {
    async run(count) {
      for (let i = 0; i < count; i++) program.submit();
      await gpu.idle();
    },
    firstRow() {
      program.submit();
      return gpu.downloadF32(y, n);
    },
  };
}

function f32Weight(gpu: WebGpu, matmulCase: MatmulCase) {
  return { format: { kind: 'f32' as const }, data: gpu.createFrom(matmulWeights(matmulCase), 'W') };
}

/** The same nibbles and scales as in the ONNX model; the zero point becomes the minimum −8 · scale. */
function q4Weight(gpu: WebGpu, matmulCase: MatmulCase) {
  const { nibbles, scales } = packedWeights(matmulCase);
  const pairs = new Float32Array(2 * scales.length);
  scales.forEach((scale, group) => {
    pairs.set([scale, -8 * scale], 2 * group);
  });
  return {
    format: { kind: 'affine' as const, bits: 4 as const, group: 32 as const, scales: 'f32' as const },
    data: gpu.createFrom(nibbles, 'W'),
    scales: gpu.createFrom(pairs, 'scales'),
  };
}

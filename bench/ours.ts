/** Alloy's own engine: train steps, generation and the matrix product kernel. */
import type { Device } from '../src/device/device.ts';
import { matmulNT } from '../src/kernels/matmul.ts';
import type { BenchEngine, MatmulCase, MatmulRunner } from './engine.ts';
import { matmulInput, matmulWeights, packedWeights } from './matmulCase.ts';
import { openDecode } from './oursDecode.ts';
import { openForward } from './oursForward.ts';
import { openLora, openStep } from './oursTrain.ts';
import { watch } from './watch.ts';

export function ourEngine(device: Device): BenchEngine {
  const watched = watch(device);
  const fresh = <T>(open: () => T): T => {
    watched.reset();
    return open();
  };
  return {
    name: 'alloy',
    version: 'this tree',
    openStep: (trainCase) => fresh(() => openStep(device, watched, trainCase)),
    openLora: (loraCase) => fresh(() => openLora(device, watched, loraCase)),
    openForward: (decodeCase) => fresh(() => openForward(device, decodeCase)),
    openDecode: (decodeCase) => fresh(() => openDecode(device, decodeCase)),
    openMatmul: async (matmulCase) => fresh(() => openMatmul(device, matmulCase)),
    profile: () => watched.profile(),
  };
}

function openMatmul(device: Device, matmulCase: MatmulCase): MatmulRunner {
  const { rows: m, outputs: n, inputs: k } = matmulCase;
  const x = device.createFrom(matmulInput(matmulCase), 'x');
  const y = device.createBuffer(4 * m * n, 'y');
  const weight = matmulCase.weights === 'f32' ? f32Weight(device, matmulCase) : q4Weight(device, matmulCase);
  const product = matmulNT({ x, weight, y }, { m, n, k }, device.info.tuning);
  const program = device.record([product], matmulCase.name);
  return {
    async run(count) {
      for (let i = 0; i < count; i++) program.submit();
      await device.idle();
    },
    firstRow() {
      program.submit();
      return device.downloadF32(y, n);
    },
  };
}

function f32Weight(device: Device, matmulCase: MatmulCase) {
  return { format: { kind: 'f32' as const }, data: device.createFrom(matmulWeights(matmulCase), 'W') };
}

/** The same nibbles and scales as in the ONNX model; the zero point becomes the minimum −8 · scale. */
function q4Weight(device: Device, matmulCase: MatmulCase) {
  const { nibbles, scales } = packedWeights(matmulCase);
  const pairs = new Float32Array(2 * scales.length);
  scales.forEach((scale, group) => {
    pairs.set([scale, -8 * scale], 2 * group);
  });
  return {
    format: { kind: 'affine' as const, bits: 4 as const, group: 32 as const, scales: 'f32' as const },
    data: device.createFrom(nibbles, 'W'),
    scales: device.createFrom(pairs, 'scales'),
  };
}

/** GGUF block types against recorded values: dequantized bit for bit, repacked for the GPU, and multiplied there. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Device } from '../../src/device/device.ts';
import { dequantize } from '../../src/formats/ggufDequantize.ts';
import { ggufTypes } from '../../src/formats/ggufTypes.ts';
import { repack } from '../../src/formats/repack.ts';
import { SafetensorsFile } from '../../src/formats/safetensors.ts';
import { matmulNT } from '../../src/kernels/matmul.ts';
import { unpack } from '../../src/kernels/weightFormat.ts';
import { nodeFileSource } from '../../src/storage/nodeStorage.ts';
import { AlloyError } from '../../src/util/errors.ts';
import { type Checks, largest } from './checks.ts';

export async function checkQuant(device: Device, goldens: string, checks: Checks): Promise<void> {
  const path = join(goldens, 'quant.safetensors');
  if (!existsSync(path)) return;
  const file = await SafetensorsFile.open(await nodeFileSource(path));
  for (const type of ggufTypes.values()) {
    if (!file.tensors.has(`${type.name}.raw`)) continue;
    await checks.guard(`${type.name} values`, async () => {
      const { bytes } = await file.readTensor(`${type.name}.raw`);
      const want = await file.readFloat32(`${type.name}.f32`);
      const name = `${type.name} values`;
      try {
        checks.close(name, dequantize(type.name, bytes, type.name), want, 0);
      } catch (error) {
        if (!(error instanceof AlloyError && error.code === 'unsupported')) throw error;
        checks.skip(name, error.message);
        return;
      }
      if (type.blockElements === 1) return;
      const packed = repack(
        type.name,
        bytes,
        want.length / type.blockElements,
        type.blockElements,
        type.name,
      );
      checks.close(`${type.name} blocks for the GPU`, unpack(packed), want, 0);
      checks.close(
        `${type.name} on the GPU`,
        await identityProduct(device, packed),
        want,
        1e-6 * largest(want),
      );
    });
  }
}

/** `I Wᵀ` with the packed matrix: its values as the kernels see them, transposed back. */
async function identityProduct(device: Device, packed: ReturnType<typeof repack>): Promise<Float32Array> {
  const { rows: n, cols: k, format } = packed;
  const identity = Float32Array.from({ length: k * k }, (_, i) => (i % (k + 1) === 0 ? 1 : 0));
  const x = device.createFrom(identity, 'identity');
  const data = device.createFrom(packed.data, 'blocks');
  const scales = device.createFrom(packed.scales, 'scales');
  const y = device.createBuffer(4 * k * n, 'product');
  device.run([matmulNT({ x, weight: { format, data, scales }, y }, { m: k, n, k }, device.info.tuning)]);
  const product = await device.downloadF32(y, k * n);
  for (const buffer of [x, data, scales, y]) device.destroyBuffer(buffer);
  return Float32Array.from(
    { length: n * k },
    (_, i) => product[(i % k) * n + Math.floor(i / k)] ?? Number.NaN,
  );
}

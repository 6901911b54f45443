/** One sequence through `Scorer`, as representations are made. */
import type { Device } from '../src/device/device.ts';
import { Scorer } from '../src/models/scorer.ts';
import { decoderTensors, loadDecoder } from '../src/models/weights.ts';
import { type DecodeCase, decodeConfig, decodeTokens } from './decodeCase.ts';
import type { Stepper } from './engine.ts';
import { packedTensors } from './oursDecode.ts';

export const FORWARD_TOKENS = 512;
const KEPT = 10;

export async function openForward(device: Device, decodeCase: DecodeCase): Promise<Stepper> {
  const config = decodeConfig(decodeCase);
  const { weights } = await loadDecoder(device, config, packedTensors(decodeCase));
  const scorer = new Scorer(device, config, weights, { topK: KEPT, batchTokens: FORWARD_TOKENS });
  const tokens = decodeTokens(decodeCase, FORWARD_TOKENS);
  return {
    async step() {
      const [rows] = await scorer.score([tokens]);
      return -(rows?.labelLogProb[0] ?? Number.NaN);
    },
  };
}

/** Floating-point operations of its products: every matrix once, the table as the head. */
export function forwardFlops(decodeCase: DecodeCase): number {
  const matrices = decoderTensors(decodeConfig(decodeCase)).filter(({ shape }) => shape.length === 2);
  return 2 * FORWARD_TOKENS * matrices.reduce((sum, { shape: [rows = 0, cols = 0] }) => sum + rows * cols, 0);
}

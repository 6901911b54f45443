import { parseConfig } from '../models/config.ts';
import { decoderTensors } from '../models/weights.ts';
import type { PlannedModel } from './memoryPlan.ts';

/**
 * A model of which only the `config.json` is known, as a plan needs it: its weights in the dtype that the config names, as a
 * folder of safetensors would have them.
 * @throws AlloyError `bad-file`, `unsupported` as `parseConfig` does
 */
export function plannedConfig(name: string, document: object, file: string): PlannedModel {
  const config = parseConfig(document, file);
  const { dtype, torch_dtype: olderName } = document as { dtype?: unknown; torch_dtype?: unknown };
  const half = (dtype ?? olderName) === 'float16';
  const columns = new Map(decoderTensors(config).map(({ name: tensor, shape }) => [tensor, shape[1] ?? 1]));
  const packs = (tensor: string) => half && (columns.get(tensor) ?? 1) % 2 === 0;
  return { name, config, format: (tensor) => ({ kind: packs(tensor) ? 'f16' : 'f32' }) };
}

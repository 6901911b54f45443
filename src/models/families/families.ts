import { required } from '../../util/errors.ts';
import type { Family } from './family.ts';
import { gemma3 } from './gemma.ts';
import { llama, mistral } from './llama.ts';
import { qwen2, qwen3 } from './qwen.ts';

export const FAMILIES: readonly Family[] = [llama, mistral, qwen2, qwen3, gemma3];

/** @returns undefined for a `model_type` that no family reads */
export function familyOfType(modelType: string): Family | undefined {
  return FAMILIES.find(({ modelTypes }) => modelTypes.includes(modelType));
}

export function familyOf({ family }: { readonly family: string }): Family {
  return required(
    FAMILIES.find(({ name }) => name === family),
    `the family ${family}`,
  );
}

import { required } from '../../util/errors.ts';
import type { Family } from './family.ts';
import { gemma1, gemma2, gemma3 } from './gemma.ts';
import { gpt2 } from './gpt2.ts';
import { gptNeox } from './gptNeox.ts';
import { granite } from './granite.ts';
import { llama, mistral } from './llama.ts';
import { olmo2, olmo3 } from './olmo2.ts';
import { phi3 } from './phi3.ts';
import { qwen2, qwen3 } from './qwen.ts';
import { smollm3 } from './smollm3.ts';
import { stablelm } from './stablelm.ts';
import { starcoder2 } from './starcoder2.ts';

export const FAMILIES: readonly Family[] = [
  llama,
  mistral,
  qwen2,
  qwen3,
  gemma1,
  gemma2,
  gemma3,
  gpt2,
  gptNeox,
  phi3,
  olmo2,
  olmo3,
  granite,
  smollm3,
  stablelm,
  starcoder2,
];

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

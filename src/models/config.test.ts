/** What configs of published models say, and what transformers takes from it. */
import { describe, expect, test } from 'vitest';
import { parseConfig } from './config.ts';

const sizes = {
  vocab_size: 151,
  hidden_size: 64,
  intermediate_size: 96,
  num_hidden_layers: 4,
  num_attention_heads: 4,
} as const;

const parse = (model_type: string, more: Record<string, unknown> = {}) =>
  parseConfig({ model_type, ...sizes, ...more }, 'config.json');

const ropes = (config: ReturnType<typeof parse>) => config.layers.map(({ rope }) => rope);
const windows = (config: ReturnType<typeof parse>) => config.layers.map(({ window }) => window);

test('a negative padding token counts from the end; one beyond the vocabulary is none', () => {
  expect(parse('llama', { pad_token_id: -1 }).padding).toBe(150);
  expect(parse('llama', { pad_token_id: 3 }).padding).toBe(3);
  expect(parse('llama', { pad_token_id: 151 }).padding).toBeUndefined();
  expect(parse('llama', { pad_token_id: null }).padding).toBeUndefined();
});

describe('fields that only some families read', () => {
  test('part of a head rotates only where the family knows of it', () => {
    expect(ropes(parse('llama', { partial_rotary_factor: 0.5 }))[0]?.rot).toBe(16);
    expect(ropes(parse('phi3', { partial_rotary_factor: 0.5 }))[0]?.rot).toBe(8);
    expect(ropes(parse('gpt_neox', { rotary_pct: 0.5 }))[0]?.rot).toBe(8);
    const within = { rope_parameters: { rope_type: 'default', partial_rotary_factor: 0.5 } };
    expect(ropes(parse('llama', within))[0]?.rot).toBe(16);
    expect(ropes(parse('stablelm', within))[0]?.rot).toBe(8);
  });

  test('soft caps and kinds of layers', () => {
    const caps = { attn_logit_softcapping: 20, final_logit_softcapping: 10 };
    expect(parse('llama', caps)).toMatchObject({ attentionCap: 0, logitCap: 0 });
    expect(parse('gemma2', { ...caps, head_dim: 16 })).toMatchObject({ attentionCap: 20, logitCap: 10 });
    expect(parse('gemma3_text', { ...caps, head_dim: 16 })).toMatchObject({ attentionCap: 0, logitCap: 10 });
    const layers = {
      layer_types: ['full_attention', 'sliding_attention', 'full_attention', 'full_attention'],
      sliding_window: 5,
    };
    expect(windows(parse('olmo2', layers))).toEqual([0, 0, 0, 0]);
    expect(windows(parse('mistral', layers))).toEqual([5, 5, 5, 5]);
    expect(windows(parse('qwen3', { ...layers, use_sliding_window: true }))).toEqual([0, 5, 0, 0]);
  });

  test('GPT-2 and GPT-NeoX have as many heads of keys as of queries', () => {
    for (const type of ['gpt2', 'gpt_neox'])
      expect(parse(type, { num_key_value_heads: 2, head_dim: 8 })).toMatchObject({ kvHeads: 4, headDim: 16 });
  });
});

test('a family’s own spelling counts, in whatever order a config has both', () => {
  const usual = { rope_theta: 777, partial_rotary_factor: 0.5 };
  const own = { rotary_emb_base: 1000, rotary_pct: 1 };
  for (const fields of [
    { ...usual, ...own },
    { ...own, ...usual },
  ])
    expect(ropes(parse('gpt_neox', fields))[0]).toMatchObject({ theta: 1000, rot: 16 });
});

test('rope_scaling counts where there is rope_parameters as well', () => {
  const both = {
    rope_scaling: { type: 'linear', factor: 3 },
    rope_parameters: { rope_type: 'default', rope_theta: 500 },
    rope_theta: 20_000,
  };
  expect(ropes(parse('llama', both))[0]).toMatchObject({
    theta: 20_000,
    scaling: { kind: 'linear', factor: 3 },
  });
  expect(ropes(parse('llama', { ...both, rope_scaling: {} }))[0]).toMatchObject({
    theta: 500,
    scaling: undefined,
  });
});

test('a ramp of YaRN by kinds of layers ends at whole pairs unless it is said for all', () => {
  const yarn = { rope_type: 'yarn', factor: 2, original_max_position_embeddings: 16, truncate: false };
  const of = (more: object) => parse('olmo3', { rope_parameters: { full_attention: yarn, ...more } });
  expect(ropes(of({}))[3]?.scaling).toMatchObject({ kind: 'yarn', truncate: true });
  expect(ropes(of({ truncate: false }))[3]?.scaling).toMatchObject({ truncate: false });
  expect(ropes(parse('llama', { rope_parameters: yarn }))[0]?.scaling).toMatchObject({ truncate: false });
});

test('the bases that families take where a config names none', () => {
  const theta = (type: string) => ropes(parse(type))[0]?.theta;
  expect([theta('llama'), theta('olmo2'), theta('olmo3'), theta('smollm3')]).toEqual([
    10_000, 10_000, 500_000, 2_000_000,
  ]);
});

test('what changes the model and is not computed is refused by name', () => {
  expect(() => parse('stablelm', { qk_layernorm: true })).toThrow(
    'config.json: qk_layernorm is set, which Alloy does not support in stablelm; use a model without it.',
  );
  expect(() => parse('gemma3_text', { use_bidirectional_attention: true })).toThrow(
    'use_bidirectional_attention',
  );
  expect(() => parse('gpt2', { add_cross_attention: true })).toThrow('add_cross_attention');
  expect(parse('stablelm', { qk_layernorm: false }).family).toBe('stablelm');
  expect(() => parse('llama', { rope_theta: '10000' })).toThrow(
    'config.json: the field rope_theta is wrong (expected number, received string)',
  );
});

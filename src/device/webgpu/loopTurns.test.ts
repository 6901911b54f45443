import { expect, test } from 'vitest';
import { defineKernel, write } from '../kernel.ts';
import { loopTurns } from './loopTurns.ts';

const kernel = (name: string, body: string) =>
  defineKernel({
    name: `test.turns.${name}`,
    buffers: { y: write('f32') },
    params: { count: 'u32', tokens: 'u32', groups: 'u32' },
    code: `@compute @workgroup_size(64) fn main(@builtin(local_invocation_index) lane: u32) { ${body} }`,
  });
const params = { count: 1000, tokens: 640, groups: 7 };

test('the longest loop of a kernel is found through its variables', () => {
  const turns = (name: string, body: string) => loopTurns(kernel(name, body), params);
  expect(turns('none', 'y[lane] = f32(params.count);')).toBe(1);
  expect(turns('fixed', 'for (var i = 0u; i < 4u; i++) { y[i] = f32(params.count); }')).toBe(1);
  expect(turns('step', 'for (var i = lane; i < params.count; i += 8u) { y[i] = 0; }')).toBe(125);
  expect(
    turns(
      'through',
      `let reach = min(lane + 3u, params.tokens);
      let end = select(0u, reach, lane < 9u);
      for (var i = 0u; i < end; i += 64u) { if (i > 3u) { y[i] = 0; } }`,
    ),
  ).toBe(10);
  expect(turns('grid', 'for (var i = lane; i < params.count; i += params.groups * 64u) { y[i] = 0; }')).toBe(
    1,
  );
});

test('loops inside loops turn as often as both together, those behind each other as often as one', () => {
  const turns = (name: string, body: string) => loopTurns(kernel(name, body), params);
  const inner = 'for (var j = 0u; j < params.groups; j++) { if (j > 1u) { y[j] = 0; } }';
  expect(turns('nest', `for (var i = 0u; i < params.tokens; i += 64u) { ${inner} ${inner} }`)).toBe(70);
  expect(turns('behind', `for (var i = 0u; i < params.tokens; i += 64u) { y[i] = 0; } ${inner}`)).toBe(10);
  expect(turns('fixed nest', `for (var i = 0u; i < 4u; i++) { ${inner} }`)).toBe(7);
});

import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ON_WASM } from '../device/testing.ts';
import { runCli } from './run.ts';
import { fakeTerminal, writeConversations, writeModel } from './testing.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'alloy-plan-'));
  writeModel(join(folder, 'tiny'), { family: 'llama', merges: ['t h', 'th e'], seed: 1 });
  writeModel(join(folder, 'other'), { family: 'qwen2', merges: [], seed: 2 });
  writeConversations(join(folder, 'data.jsonl'), 6);
  const data = { train: ['data.jsonl'], heldout: ['data.jsonl'] };
  const train = { rank: 2, batch: 4, steps: 2, maxTokens: 64, recompute: 'off' };
  const recipe = { name: 'r', pivot: 'tiny', sources: ['other'], data, train };
  writeFileSync(join(folder, 'recipe.json'), JSON.stringify(recipe));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function alloy(...argv: string[]) {
  const terminal = fakeTerminal(folder);
  const code = await runCli(argv, terminal, { builtinFolder: folder });
  return { code, stdout: terminal.stdout(), stderr: terminal.stderr() };
}

interface PlanDocument {
  peakBytes: number;
  phases: { phase: string; bytes: number; parts: Record<string, number> }[];
  suggestions: { path: string; bytes: number; savesBytes: number }[];
  fits?: boolean;
  fitted?: { fits: boolean; bytes: number; steps: { path: string }[] };
}

test('a recipe is planned phase by phase, with what makes it smaller', async () => {
  const { code, stdout } = await alloy('plan', 'recipe.json', '--json');
  expect(code).toBe(0);
  const plan = JSON.parse(stdout) as PlanDocument;
  expect(plan.phases.map(({ phase }) => phase)).toEqual([
    'read tiny',
    'evaluate tiny',
    'read other',
    'evaluate other',
    'train',
    'merge',
  ]);
  for (const { bytes, parts } of plan.phases) {
    expect(Object.values(parts).reduce((sum, part) => sum + part, 0)).toBe(bytes);
  }
  expect(plan.peakBytes).toBe(Math.max(...plan.phases.map(({ bytes }) => bytes)));
  expect(plan.suggestions.length).toBeGreaterThan(1);
  // The processor's memory ends somewhere; a GPU tells nobody.
  expect(plan.fits).toBe(ON_WASM ? true : undefined);

  const limit = Math.max(...plan.suggestions.map(({ bytes }) => bytes));
  const limited = await alloy('plan', 'recipe.json', '--memory', `${limit}B`, '--json');
  const { fits, fitted } = JSON.parse(limited.stdout) as PlanDocument;
  expect(fits).toBe(false);
  expect(fitted?.fits).toBe(true);
  expect(fitted?.bytes).toBeLessThanOrEqual(limit);
  const text = await alloy('plan', 'recipe.json', '--memory', '1kB');
  expect(text.stdout).toMatch(/to make it smaller +saves +then/u);
  expect(text.stdout).toMatch(/It does not fit into 1\.0 kB: the smallest, by .* too much\./u);
});

test('a model is planned for every use, and what does not fit is refused before it is loaded', async () => {
  const { code, stdout } = await alloy(
    'plan',
    'tiny',
    '--precision',
    'q4',
    '--tokens',
    '64',
    '--memory',
    '1GB',
  );
  expect(code).toBe(0);
  expect(stdout).toMatch(
    /chat, 2048 tokens[\s\S]*score, 64 tokens[\s\S]*train, 1 × 64 tokens[\s\S]*All of it fits/u,
  );
  const chat = await alloy('chat', 'tiny', '--prompt', 'hello', '--memory', '20kB');
  expect(chat).toMatchObject({ code: 5 });
  expect(chat.stderr).toMatch(
    /tiny would take .* for its weights\), but only 20\.0 kB may be used; choose a shorter context/u,
  );
  const score = await alloy('score', 'tiny', '--text', 'hello', '--memory', '20kB');
  expect(score.code).toBe(5);
  // The rows of a longer text take more than those of a short one.
  const most = (words: number, memory: string) =>
    alloy('score', 'tiny', '--raw', '--text', 'a '.repeat(words), '--memory', memory);
  const long = await most(100, '60kB');
  expect(long.stderr).toMatch(/tiny would take .* may be used; choose shorter texts,/u);
  const takes = Number(/would take ([\d.]+) kB/u.exec(long.stderr)?.[1]);
  const short = Number(/would take ([\d.]+) kB/u.exec((await most(10, '60kB')).stderr)?.[1]);
  expect(takes).toBeGreaterThan(1.5 * short);
  expect((await most(100, `${Math.ceil(takes) + 1}kB`)).code).toBe(0);
  expect((await most(10, `${Math.ceil(short) + 1}kB`)).code).toBe(0);
  expect((await alloy('score', 'tiny', '--text', 'hello', '--memory', '1GB')).code).toBe(0);
  expect((await alloy('score', 'tiny', '--text', 'hello', '--memory', 'lots')).stderr).toMatch(
    /--memory: "lots"/u,
  );
  const fuse = await alloy('fuse', 'recipe.json', '--memory', '20kB');
  expect(fuse).toMatchObject({ code: 5, stderr: expect.stringMatching(/even the smallest/u) });
});

test('a config alone is planned like the model', async () => {
  mkdirSync(join(folder, 'alone'));
  cpSync(join(folder, 'tiny', 'config.json'), join(folder, 'alone', 'config.json'));
  const uses = async (model: string) => {
    const { code, stdout } = await alloy('plan', model, '--tokens', '64', '--json');
    expect(code).toBe(0);
    return (JSON.parse(stdout) as { uses: unknown[] }).uses;
  };
  const whole = await uses('tiny');
  expect(whole).toHaveLength(3);
  expect(await uses('alone')).toEqual(whole);
  expect(await uses('alone/config.json')).toEqual(whole);
  writeFileSync(join(folder, 'alone', 'config.json'), '{"model_type":"llama"}');
  expect((await alloy('plan', 'alone')).stderr).toMatch(/alone\/config\.json: the field .* is wrong/u);
});

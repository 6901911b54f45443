import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runCli } from './run.ts';
import { type FakeTerminal, fakeTerminal, writeConversations, writeModel } from './testing.ts';

const RECIPE = `name: tiny fusion
pivot: pivot
sources: [source, other]
data: { train: [train.jsonl], heldout: [dev.jsonl] }
train: { rank: 2, steps: 4, batch: 4, maxTokens: 96, matrices: [q, v, down], checkpointEvery: 1, learningRate: 0.01 }
evaluate: { maxNewTokens: 3, bootstrap: 100 }
`;
const SUITE_ROWS = [
  ['pivot', 'pivot'],
  ['source', 'source'],
  ['other', 'source'],
  ['SFT-only', 'sft'],
  ['SFT-only, scaled to the merged norm', 'sft'],
  ['target of source', 'target'],
  ['target of other', 'target'],
  ['merged (sce)', 'merged'],
  ['merged (linear)', 'merged'],
];

interface Row {
  model: string;
  role: string;
  nllPerByte: number;
  low: number;
  high: number;
  accuracy?: number;
  difference?: { value: number; low: number; high: number };
}
interface Report {
  recipe: { name: string; train: { rank: number; clip: number } };
  suites: { suite: string; rows: Row[] }[];
  seconds: number;
  device: string;
  reused?: number;
}

let folder = '';
const path = (...names: string[]) => join(folder, ...names);
const read = (...names: string[]) => readFileSync(path(...names), 'utf8');
const report = (run: string) => JSON.parse(read(run, 'report.json')) as Report;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'alloy-fuse-'));
  writeModel(path('pivot'), { family: 'llama', merges: ['t h', 'th e'], seed: 1 });
  writeModel(path('source'), { family: 'qwen2', merges: ['i s', 'e r'], seed: 2 });
  writeModel(path('other'), { family: 'llama', merges: [], seed: 3 });
  writeConversations(path('train.jsonl'), 8);
  writeConversations(path('dev.jsonl'), 3, 100);
  writeFileSync(path('recipe.yaml'), RECIPE);
  const { code, stderr } = await alloy('fuse', 'recipe.yaml', '--out', 'run');
  expect(stderr).toMatch(/Training source: 4 of 4/u);
  expect(code).toBe(0);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function alloy(...argv: string[]) {
  return run(fakeTerminal(folder), argv);
}

async function run(terminal: FakeTerminal, argv: readonly string[]) {
  const code = await runCli(argv, terminal);
  return { code, stdout: terminal.stdout(), stderr: terminal.stderr() };
}

describe('fuse', () => {
  test('writes the report with every model, as the recipe asks', () => {
    const { recipe, suites, seconds, device } = report('run');
    expect(recipe).toMatchObject({ name: 'tiny fusion', train: { rank: 2, clip: 1 } });
    expect(seconds).toBeGreaterThan(0);
    expect(device).not.toBe('');
    expect(suites.map(({ suite }) => suite)).toEqual(['dev']);
    const rows = suites[0]!.rows;
    expect(rows.map(({ model, role }) => [model, role])).toEqual(SUITE_ROWS);
    for (const row of rows) {
      expect(row.low).toBeLessThanOrEqual(row.nllPerByte);
      expect(row.high).toBeGreaterThanOrEqual(row.nllPerByte);
      expect(row.accuracy).toBeTypeOf('number');
      if (row.model !== 'SFT-only') expect(row.difference!.low).toBeLessThanOrEqual(row.difference!.high);
    }
  });

  test('the readable report has a line for every model and says what three conversations tell', () => {
    const text = read('run', 'report.md');
    for (const [model] of SUITE_ROWS) expect(text).toContain(`| ${model} |`);
    expect(text).toMatch(/\* dev: too few to tell \(3 conversations\)/u);
    expect(text).toMatch(/\| source \| \d+\.\d % \|/u);
  });

  test('training changed the model, and adapters are PEFT', () => {
    const [pivot, , , sft] = report('run').suites[0]!.rows;
    expect(sft!.nllPerByte).toBeLessThan(pivot!.nllPerByte);
    for (const adapter of ['targets/source', 'targets/other', 'sft']) {
      expect(JSON.parse(read('run', adapter, 'adapter_config.json'))).toMatchObject({
        peft_type: 'LORA',
        r: 2,
        lora_alpha: 32,
        target_modules: ['down_proj', 'q_proj', 'v_proj'],
      });
      expect(existsSync(path('run', adapter, 'adapter_model.safetensors'))).toBe(true);
    }
    const merge = JSON.parse(read('run', 'merge.json'));
    expect(merge.matrices).toHaveLength(6);
    for (const { weights } of merge.matrices) expect(weights[0] + weights[1]).toBeCloseTo(1, 5);
  });

  test('a second time runs nothing and says the same', async () => {
    const before = report('run');
    const { code, stdout, stderr } = await alloy('fuse', 'recipe.yaml', '--out', 'run', '--json');
    expect(code).toBe(0);
    expect(stdout.trimEnd().split('\n')).toHaveLength(1);
    expect(JSON.parse(stdout).suites).toEqual(before.suites);
    expect(stderr).toMatch(/Training source: done before/u);
    expect(report('run').reused).toBe(17);
  });

  test("the written recipe's paths hold from the run's folder", async () => {
    const { code, stderr } = await alloy(
      'fuse',
      'run/recipe.yaml',
      '--out',
      'again',
      '--store',
      'run/.alloy',
    );
    expect(code).toBe(0);
    expect(stderr).toMatch(/Training other: done before/u);
    expect(report('again').suites).toEqual(report('run').suites);
  });

  test('stopped by Ctrl-C it goes on to the same numbers', async () => {
    const terminal = fakeTerminal(folder);
    const stopping = {
      ...terminal,
      err(text: string) {
        terminal.err(text);
        if (text.startsWith('Training sft')) terminal.interrupt();
      },
    };
    const { code } = await run(stopping, ['fuse', 'recipe.yaml', '--out', 'stopped']);
    expect(code).toBe(130);
    expect(terminal.stderr()).toMatch(/Stopping after this step.*alloy: The run was stopped/su);
    expect(existsSync(path('stopped', 'report.json'))).toBe(false);
    expect((await alloy('fuse', 'recipe.yaml', '--out', 'stopped')).code).toBe(0);
    expect(report('stopped').suites).toEqual(report('run').suites);
    expect(read('stopped', 'merge.json')).toBe(read('run', 'merge.json'));
  });
});

describe('a finished run is a model', () => {
  const score = async (model: string) => {
    const { code, stdout } = await alloy('score', model, '--data', 'dev.jsonl', '--json');
    expect(code).toBe(0);
    return JSON.parse(stdout) as { nllPerByte: number };
  };
  const nll = (name: string, model: string) =>
    report(name).suites[0]!.rows.find((row) => row.model === model)!.nllPerByte;

  test('that scores as its report says', async () => {
    expect((await score('run')).nllPerByte).toBeCloseTo(nll('run', 'merged (sce)'), 4);
  });

  test('and can be merged in another way', async () => {
    expect((await alloy('merge', 'run', '--method', 'linear', '--out', 'even')).code).toBe(0);
    expect(nll('even', 'merged (linear)')).toBeCloseTo(nll('run', 'merged (linear)'), 5);
    expect(report('even').suites[0]!.rows.map(({ model }) => model)).toEqual(
      SUITE_ROWS.map(([model]) => model).filter((model) => model !== 'merged (sce)'),
    );
    expect((await score('even')).nllPerByte).toBeCloseTo(nll('run', 'merged (linear)'), 4);
    // All weight on one target is that target.
    expect((await alloy('merge', 'run', '--weights', '1,0')).code).toBe(0);
    expect(nll('run-linear', 'merged (linear)')).toBeCloseTo(nll('run', 'target of source'), 5);
  });

  test('weights for another number of sources are refused', async () => {
    const { code, stderr } = await alloy('merge', 'run', '--weights', '1');
    expect(code).toBe(2);
    expect(stderr).toMatch(/1 numbers?, but the run has 2 sources/u);
  });

  test.each([
    ['f32', 4],
    ['f16', 2],
    ['bf16', 1],
  ])('and is exported in %s', async (dtype, digits) => {
    const out = `export-${dtype}`;
    const { code, stdout } = await alloy('export', 'run', '--out', out, '--dtype', dtype, '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ verified: true, missing: [] });
    expect((await score(out)).nllPerByte).toBeCloseTo(nll('run', 'merged (sce)'), digits);
  });

  test('its adapters are exported', async () => {
    expect((await alloy('export', 'run', '--out', 'peft', '--what', 'adapter')).code).toBe(0);
    expect(readdirSync(path('peft')).sort()).toEqual(['other', 'sft', 'source']);
    for (const file of ['adapter_model.safetensors', 'adapter_config.json'])
      expect(readFileSync(path('peft', 'other', file))).toEqual(
        readFileSync(path('run', 'targets', 'other', file)),
      );
  });

  test('and can be the pivot of another fusion', async () => {
    writeFileSync(
      path('next.yaml'),
      RECIPE.replace('pivot: pivot', 'pivot: even').replace('steps: 4', 'steps: 1'),
    );
    expect((await alloy('fuse', 'next.yaml', '--out', 'next')).code).toBe(0);
    expect(nll('next', 'even')).toBeCloseTo(nll('even', 'merged (linear)'), 4);
  });

  test('one that is not finished says so', async () => {
    rmSync(path('again', 'report.json'));
    const { code, stderr } = await alloy('score', 'again', '--text', 'x');
    expect(code).toBe(3);
    expect(stderr).toMatch(/again has no report\.json: the run is not finished/u);
  });

  test.each<[string, string, (text: string) => string, RegExp]>([
    ['a report without suites', 'report.json', () => '{}', /damaged\/report\.json: suites is no list/u],
    [
      'weights of no number',
      'merge.json',
      (text) => text.replace('"version": 1', '"version": 9'),
      /version/u,
    ],
    [
      'a pivot that is the run',
      'recipe.yaml',
      (text) => text.replace(/^pivot: .*$/mu, 'pivot: .'),
      /recipe\.yaml: the pivot leads back to the run itself/u,
    ],
  ])('one with %s is refused', async (_, file, change, message) => {
    cpSync(path('run'), path('damaged'), { recursive: true });
    writeFileSync(path('damaged', file), change(read('damaged', file)));
    const { code, stderr } = await alloy('score', 'damaged', '--text', 'x');
    expect(code).toBe(3);
    expect(stderr).toMatch(message);
  });
});

test('align tells coverage, mapping and who is chosen', async () => {
  const { code, stdout } = await alloy(
    'align',
    'pivot',
    'source',
    '--data',
    'train.jsonl',
    '--limit',
    '4',
    '--json',
  );
  expect(code).toBe(0);
  const found = JSON.parse(stdout);
  expect(found).toMatchObject({ pivot: 'pivot', source: 'source', conversations: 4 });
  expect(found.coverage).toBeGreaterThan(0.7);
  expect(found.chosen).toHaveLength(4);
  const masses = Object.values(found.mapping as Record<string, number>);
  expect(masses.reduce((sum, mass) => sum + mass, 0)).toBeCloseTo(1, 5);
});

import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ON_WASM } from '../device/testing.ts';
import { runCli } from './run.ts';
import { fakeTerminal, writeConversations, writeModel } from './testing.ts';

const fixture = join(import.meta.dirname, '../../fixtures/onnx');
let folder = '';
const path = (...names: string[]) => join(folder, ...names);

async function alloy(...argv: string[]) {
  const terminal = fakeTerminal(folder);
  const code = await runCli(argv, terminal);
  return { code, stdout: terminal.stdout(), stderr: terminal.stderr() };
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'alloy-onnx-'));
  cpSync(fixture, path('own'), { recursive: true });
  cpSync(fixture, path('frozen'), { recursive: true });
  rmSync(path('frozen', 'model.safetensors'));
  writeModel(path('pivot'), { family: 'llama', merges: ['t h', 'th e'], seed: 1 });
  writeConversations(path('train.jsonl'), 4);
  writeConversations(path('dev.jsonl'), 2, 100);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const recipe = (pivot: string, source: string) =>
  `name: frozen\npivot: ${pivot}\nsources: [${source}]\ndata: { train: [train.jsonl], heldout: [dev.jsonl] }
train: { rank: 2, steps: 2, batch: 2, maxTokens: 96, matrices: [q, v] }\nevaluate: { maxNewTokens: 3, bootstrap: 100 }\n`;

describe('a folder with ONNX alone', () => {
  test('scores as its weights do', async () => {
    const score = async (model: string) => {
      const { stdout, stderr, code } = await alloy('score', model, '--text', 'the crew sings', '--json');
      expect({ code, stderr }).toMatchObject({ code: 0 });
      return { ...JSON.parse(stdout), stderr };
    };
    const [own, frozen] = [await score('own'), await score('frozen')];
    expect(frozen.nll).toBeCloseTo(own.nll, 3);
    expect(frozen.rows.map(({ ids }: { ids: number[] }) => ids[0])).toEqual(
      own.rows.map(({ ids }: { ids: number[] }) => ids[0]),
    );
    expect(frozen.stderr).toMatch(
      ON_WASM
        ? /onnxruntime-web runs frozen\/onnx\/model\.onnx on the CPU/u
        : /onnxruntime-web runs frozen\/onnx\/model\.onnx on the engine's GPU device/u,
    );
    const half = await score('own/onnx/model_fp16.onnx');
    expect(Math.abs(half.nll - own.nll) / own.nll).toBeLessThan(0.01);
  });

  test('is a source of align and of fuse', async () => {
    const aligned = await alloy('align', 'pivot', 'frozen', '--data', 'dev.jsonl', '--json');
    expect(aligned).toMatchObject({ code: 0 });
    expect(JSON.parse(aligned.stdout).coverage).toBeGreaterThan(0);
    writeFileSync(path('recipe.yaml'), recipe('pivot', 'frozen'));
    const fused = await alloy('fuse', 'recipe.yaml', '--out', 'run');
    expect(fused.stderr).toMatch(/onnxruntime-web runs/u);
    expect(fused.code).toBe(0);
    const report = JSON.parse(readFileSync(path('run', 'report.json'), 'utf8'));
    const rows: { model: string; nllPerByte: number }[] = report.suites[0].rows;
    expect(rows.find(({ model }) => model === 'frozen')?.nllPerByte).toBeGreaterThan(0);
  });

  test.each([
    ['a pivot', () => alloy('fuse', 'frozen.yaml', '--out', 'other'), 3],
    ['a chat', () => alloy('chat', 'frozen', '--prompt', 'hi'), 3],
  ])('is not for %s', async (_, run, code) => {
    writeFileSync(path('frozen.yaml'), recipe('frozen', 'pivot'));
    const result = await run();
    expect(result.stderr).toMatch(/frozen source only/u);
    expect(result.code).toBe(code);
  });
});

describe('what is wrong is named', () => {
  const change = async (edit: (folder: string) => void) => {
    rmSync(path('bad'), { recursive: true, force: true });
    cpSync(path('frozen'), path('bad'), { recursive: true });
    edit(path('bad'));
    const { code, stderr, stdout } = await alloy('score', 'bad', '--text', 'the crew', '--raw');
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
    expect(stderr).toMatch(/^alloy: [^\n]*\.\n$/u);
    return stderr;
  };
  const model = (name: string) => readFileSync(join(fixture, name));

  test('a file that is cut off, or none of this kind', async () => {
    const cut = (bytes: Buffer) => (bad: string) => writeFileSync(join(bad, 'onnx/model.onnx'), bytes);
    expect(await change(cut(model('onnx/model.onnx').subarray(0, 5000)))).toMatch(
      /bad\/onnx\/model\.onnx: /u,
    );
    expect(await change(cut(Buffer.from('no model at all')))).toMatch(/no ONNX model/u);
  });

  test('a vocabulary that does not fit the tokenizer', async () => {
    const message = await change((bad) => {
      const file = join(bad, 'tokenizer.json');
      const json = JSON.parse(readFileSync(file, 'utf8'));
      json.model.vocab.toomuch = 320;
      writeFileSync(file, JSON.stringify(json));
    });
    expect(message).toMatch(/"toomuch" has the id 320, but the model's vocabulary has 320/u);
  });

  test('no config beside a file', async () => {
    mkdirSync(path('loose'), { recursive: true });
    writeFileSync(path('loose', 'x.onnx'), model('onnx/model.onnx'));
    const { stderr } = await alloy('score', 'loose/x.onnx', '--text', 'a');
    expect(stderr).toMatch(/loose\/x\.onnx: there is no config\.json beside it or above it/u);
  });
});

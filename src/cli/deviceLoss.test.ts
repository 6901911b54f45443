import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openFragileDevice } from '../device/testing.ts';
import { runCli } from './run.ts';
import { fakeTerminal, writeConversations, writeModel } from './testing.ts';

const RECIPE = `name: tiny
pivot: pivot
sources: [source]
data: { train: [train.jsonl], heldout: [dev.jsonl] }
train: { rank: 2, steps: 4, batch: 4, maxTokens: 96, matrices: [q, v], checkpointEvery: 1, learningRate: 0.01 }
evaluate: { accuracy: false, bootstrap: 100 }
`;

/** The program of a training step. */
const STEP = /^micro-batch/u;

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'alloy-loss-'));
  writeModel(join(folder, 'pivot'), { family: 'llama', merges: ['t h', 'th e'], seed: 1 });
  writeModel(join(folder, 'source'), { family: 'qwen2', merges: ['i s'], seed: 2 });
  writeConversations(join(folder, 'train.jsonl'), 8);
  writeConversations(join(folder, 'dev.jsonl'), 3, 100);
  writeFileSync(join(folder, 'recipe.yaml'), RECIPE);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** In which programs a device is lost, and right after which of their submits. */
interface Loss {
  readonly label: RegExp;
  readonly at: number;
}

/** Runs the recipe; the devices are lost in turn. */
async function fuse(out: string, losses: readonly Loss[]) {
  const terminal = fakeTerminal(folder);
  const labels: string[][] = [];
  const openDevice = async () => {
    const { device, lose } = await openFragileDevice();
    const mine: string[] = [];
    const loss = losses[labels.push(mine) - 1];
    const record = device.record.bind(device);
    device.record = (dispatches, label) => {
      const program = record(dispatches, label);
      const submit = program.submit.bind(program);
      program.submit = () => {
        mine.push(label);
        const now = loss !== undefined && mine.filter((one) => loss.label.test(one)).length === loss.at;
        submit();
        if (now) lose();
      };
      return program;
    };
    return device;
  };
  const code = await runCli(['fuse', 'recipe.yaml', '--out', out], terminal, { openDevice });
  return { code, stderr: terminal.stderr(), opened: labels.length };
}

const suites = (out: string) =>
  (JSON.parse(readFileSync(join(folder, out, 'report.json'), 'utf8')) as { suites: unknown }).suites;

test('a run whose device is lost goes on once by itself, wherever it was, with the same numbers', async () => {
  const calm = await fuse('calm', []);
  expect(calm).toMatchObject({ code: 0, opened: 1 });
  const losses = [
    { label: /^score/u, at: 3 },
    { label: STEP, at: 6 },
    { label: /^merge/u, at: 1 },
  ];
  for (const [index, loss] of losses.entries()) {
    const out = `lost-${index}`;
    const lost = await fuse(out, [loss]);
    expect(lost).toMatchObject({ code: 0, opened: 2 });
    expect(lost.stderr).toMatch(/The device was lost; it was opened again/u);
    expect(suites(out)).toEqual(suites('calm'));
  }
  const twice = await fuse('twice', [losses[1]!, { label: STEP, at: 1 }]);
  expect(twice.opened).toBe(2);
  expect(twice.code).not.toBe(0);
  expect(twice.stderr).toMatch(/lost.*checkpoint|thread.*checkpoint/iu);
  const rest = await fuse('twice', []);
  expect(rest).toMatchObject({ code: 0, opened: 1 });
  expect(rest.stderr).toMatch(/done before/u);
  expect(suites('twice')).toEqual(suites('calm'));
}, 240_000);

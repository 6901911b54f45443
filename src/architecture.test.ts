import { readdirSync, readFileSync } from 'node:fs';
import { join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import {
  findCycle,
  folderCycle,
  moduleCycle,
  moduleProblems,
  parseModule,
  RULES,
} from '../scripts/architecture.ts';

const src = fileURLToPath(new URL('.', import.meta.url));
const paths = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .map((path) => path.split(sep).join('/'))
  // AssemblyScript has rules of its own.
  .filter((path) => /\.tsx?$/.test(path) && !/^kernels\/assembly\/.*(?<!\.test)\.ts$/.test(path));
const modules = paths.map((path) => parseModule(path, readFileSync(join(src, path), 'utf8')));

describe('the code as it is', () => {
  test('every module keeps the rules', () => {
    expect(modules.length).toBeGreaterThan(20);
    expect(modules.flatMap(moduleProblems)).toStrictEqual([]);
  });

  test('no folder imports itself by way of others', () => {
    expect(folderCycle(modules)?.join(' → ')).toBeUndefined();
  });

  test('no module imports itself by way of others', () => {
    expect(moduleCycle(modules)?.join(' → ')).toBeUndefined();
  });

  test('every folder has a rule, and no rule allows an import in both directions', () => {
    const folders = new Set(
      paths.filter((path) => path.includes('/')).map((path) => path.split('/')[0] ?? ''),
    );
    expect([...folders].filter((folder) => !(folder in RULES))).toStrictEqual([]);
    const allowed = new Map(
      Object.entries(RULES).map(([from, { values, types = [] }]) => [from, new Set([...values, ...types])]),
    );
    expect(findCycle(allowed)).toBeUndefined();
  });
});

const problems = (path: string, text: string) => moduleProblems(parseModule(path, text));

describe('what the rules catch', () => {
  test.each([
    ['an import upwards', 'device/a.ts', "import { b } from '../kernels/b.ts';"],
    ['an import upwards for its effect', 'util/a.ts', "import '../device/device.ts';"],
    ['a dynamic import upwards', 'formats/a.ts', "export const load = () => import('../models/decoder.ts');"],
    ['a re-export from above', 'graph/a.ts', "export { b } from '../models/b.ts'; export const c = 1;"],
    [
      'a type from where not even types are allowed',
      'kernels/a.ts',
      "import type { B } from '../graph/b.ts';",
    ],
    ['a type named in place', 'kernels/a.ts', "export type A = import('../graph/b.ts').B;"],
    ['a value where only types are allowed', 'align/a.ts', "import { b } from '../models/b.ts';"],
    ['a value among types', 'align/a.ts', "import { type A, b } from '../models/b.ts';"],
    ['values of the engine in the studio', 'studio/a.ts', "import { Device } from '../device/device.ts';"],
    ['another stage of the studio', 'studio/stages/chat/a.ts', "import { b } from '../merge/b.ts';"],
    ['React outside the studio', 'pipeline/a.ts', "import { useState } from 'react';"],
    ['a hook of a store outside the studio', 'merge/a.ts', "import { create } from 'zustand/react';"],
    ['a component outside the studio', 'pipeline/a.tsx', 'export const A = () => <p />;'],
    ['Dawn outside its module', 'models/a.ts', "await import('webgpu');"],
    ['Node outside the command line', 'pipeline/a.ts', "import { readFile } from 'node:fs/promises';"],
    ['Node in storage for the browser', 'storage/browserStorage.ts', "import 'node:fs';"],
    ['the WebGPU API outside device', 'kernels/a.ts', 'export let device: GPUDevice;'],
    [
      'a constant of the WebGPU API outside device',
      'models/a.ts',
      'export const usage = GPUBufferUsage.STORAGE;',
    ],
    ['an import without extension', 'device/a.ts', "import { b } from './b';"],
    ['an import of a folder', 'device/a.ts', "import { b } from '.';"],
    ['code outside src', 'device/a.ts', "import { b } from '../../bench/b.ts';"],
    ['a barrel', 'device/index.ts', "export * from './a.ts';"],
    ['a barrel in two steps', 'device/index.ts', "import { a } from './a.ts'; export { a };"],
    ['a barrel of types', 'device/types.ts', "export type { A } from './a.ts';"],
    ['a module beside the folders', 'main.ts', 'export const a = 1;'],
    ['a folder without a rule', 'extras/a.ts', "import { b } from '../util/b.ts';"],
    ['a long file', 'device/a.ts', `export const a = 1;\n${'// line\n'.repeat(400)}`],
    ['a long test', 'device/a.test.ts', `export const a = 1;\n${'// line\n'.repeat(600)}`],
    ['a test that imports upwards', 'device/a.test.ts', "import { b } from '../models/b.ts';"],
  ])('%s', (_, path, text) => {
    expect(problems(path, text)).toHaveLength(1);
  });

  test.each([
    ['kernels/a.ts', "import { a } from '../device/kernel.ts'; import { b } from './b.ts';"],
    ['align/a.ts', "import type { A } from '../models/a.ts'; import { type B } from '../models/b.ts';"],
    ['distill/a.ts', "import { a } from '../kernels/a.ts';"],
    ['studio/a.tsx', "import type { A } from '../align/a.ts'; import { useState } from 'react';"],
    ['studio/stages/chat/a.ts', "import { b } from './b.ts'; import { c } from '../../views/c.ts';"],
    ['storage/nodeStorage.ts', "import { readFile } from 'node:fs/promises';"],
    ['storage/nodeStorage.test.ts', "import { tmpdir } from 'node:os';"],
    [
      'graph/a.test.ts',
      "import { testDevice } from '../device/testing.ts'; import a from '../../fixtures/a.json';",
    ],
    [
      'cli/main.ts',
      "import { openDawn } from '../device/webgpu/dawn.ts'; import { n } from '../storage/nodeStorage.ts';",
    ],
    [
      'device/a.ts',
      'export let device: GPUDevice; // and a re-export beside code\nexport { b } from "./b.ts";',
    ],
    ['models/a.ts', '/** GPUDevice in a comment, "GPUBuffer" in a string */ export const a = "GPUBuffer";'],
  ])('and what they allow: %s', (path, text) => {
    expect(problems(path, text)).toStrictEqual([]);
  });

  test('cycles', () => {
    const parse = (files: Record<string, string>) =>
      Object.entries(files).map(([path, text]) => parseModule(path, text));
    const folders = parse({
      'models/a.ts': "import type { B } from '../align/b.ts';",
      'align/b.ts': "import type { C } from '../models/c.ts';",
    });
    expect(folderCycle(folders)).toStrictEqual(['models', 'align', 'models']);
    expect(moduleCycle(folders)).toBeUndefined();
    const files = parse({
      'device/a.ts': "import { b } from './b.ts';",
      'device/b.ts': "export const c = () => import('./c.ts');",
      'device/c.ts': "export { a } from './a.ts'; export const d = 1;",
    });
    expect(moduleCycle(files)).toStrictEqual(['device/a.ts', 'device/b.ts', 'device/c.ts', 'device/a.ts']);
    expect(folderCycle(files)).toBeUndefined();
  });

  test('a module that does not parse', () => {
    expect(() => parseModule('device/a.ts', 'export const = 1;')).toThrow('device/a.ts does not parse');
  });
});

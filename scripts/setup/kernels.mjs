/*
 * Compiles the kernels of the WASM device (AssemblyScript, `src/kernels/assembly`) into `dist/kernels`, where the sources
 * have changed: for memory that threads share and for pages that may not share any, with relaxed SIMD and without.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { root, SetupError } from './process.mjs';

const sources = join(root, 'src', 'kernels', 'assembly');
const built = join(root, 'dist', 'kernels');

/** 2 GiB, in pages of 64 KiB: `PAGES` of `src/device/wasm/wasmMemory.ts`. */
const MAXIMUM_PAGES = 32_768;

const SHARED = ['--sharedMemory'];
const RELAXED = ['--enable', 'relaxed-simd'];

const VARIANTS = {
  'kernels.shared.wasm': SHARED,
  'kernels.shared.relaxed.wasm': [...SHARED, ...RELAXED],
  'kernels.wasm': [],
  'kernels.relaxed.wasm': RELAXED,
};

const FLAGS = ['-O3', '--noAssert', '--runtime', 'stub', '--exportTable', '--importMemory']
  .concat(['--initialMemory', '1', '--maximumMemory', `${MAXIMUM_PAGES}`])
  .concat(['--enable', 'threads', '--enable', 'simd']);

function isCurrent() {
  const newest = [sources, join(sources, 'lib')]
    .flatMap((folder) => [folder, ...readdirSync(folder).map((name) => join(folder, name))])
    .concat(join(root, 'scripts', 'setup', 'kernels.mjs'))
    .reduce((latest, path) => Math.max(latest, statSync(path).mtimeMs), 0);
  return Object.keys(VARIANTS).every((name) => {
    const file = join(built, name);
    return existsSync(file) && statSync(file).mtimeMs > newest;
  });
}

/** Under this name of the global object all copies of this module in a process find what one of them is building. */
const BUILDING = Symbol.for('alloy.kernels');

/** @returns {Promise<void>} @throws {SetupError} with what the compiler says */
export async function ensureKernels() {
  const place = /** @type {Record<symbol, Promise<void> | undefined>} */ (
    /** @type {unknown} */ (globalThis)
  );
  while (place[BUILDING]) await place[BUILDING];
  if (isCurrent()) return;
  place[BUILDING] = build().finally(() => {
    place[BUILDING] = undefined;
  });
  await place[BUILDING];
}

async function build() {
  mkdirSync(built, { recursive: true });
  const { default: compiler } = await import('assemblyscript/asc');
  const entries = readdirSync(sources).filter((name) => /(?<!\.test)\.ts$/.test(name));
  for (const [name, more] of Object.entries(VARIANTS)) {
    // Others may be building, or reading what is there.
    const draft = join(built, `${name}.${process.pid}`);
    const { error, stdout, stderr } = await compiler.main([
      ...entries,
      ...['--baseDir', sources, '--outFile', draft],
      ...FLAGS,
      ...more,
    ]);
    if (error) throw new SetupError(`The kernels could not be compiled:\n${stderr}${stdout}`);
    renameSync(draft, join(built, name));
  }
}

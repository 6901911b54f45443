import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './process.mjs';

/** @param {string} modules a pattern of their paths */
const importOf = (modules) => new RegExp(String.raw`^(?:import .*|\} )from '[^']*(?:${modules})\.ts'`, 'm');

/** Of tests everywhere, and of those in a folder: what opens a device, or runs what does. */
const OPENERS = [
  { folder: '', imports: importOf('device/testing|/dawn|/navigatorGpu|matmulTesting') },
  { folder: 'src/device/', imports: importOf(String.raw`\.\./testing`) },
  { folder: 'src/cli/', imports: importOf(String.raw`\./run`) },
];
const WEBGPU = importOf(String.raw`webgpu/\w+|/dawn|/navigatorGpu`);
/** A test that says itself what it does on which device, or opens whichever it is run for. */
const EITHER = /\bON_WASM\b|\bopenTestDevice\b/;

/**
 * The tests by the device that they run on: none, WebGPU, WASM; those of the engine run on both.
 * @param {boolean} real those that need the real models
 * @returns {import('vitest/config').TestProjectConfiguration[]}
 */
export function testProjects(real) {
  const files = ['src', 'scripts', 'bench']
    .flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((file) =>
        `${folder}/${file}`.replaceAll('\\', '/'),
      ),
    )
    .filter((file) => /\.test\.tsx?$/.test(file))
    .filter((file) => file.endsWith('.real.test.ts') === real)
    .map((file) => ({ file, ...devicesOf(file, readFileSync(join(root, file), 'utf8')) }));
  const names = (/** @type {typeof files} */ some) => some.map(({ file }) => file);
  return [
    project('plain', names(files.filter(({ any }) => !any))),
    project('webgpu', names(files.filter(({ any }) => any))),
    project('wasm', names(files.filter(({ any, wasm }) => any && wasm))),
  ];
}

/**
 * Which devices a test needs.
 * @param {string} file its path in the project
 * @param {string} text
 */
export function devicesOf(file, text) {
  const any = OPENERS.some(({ folder, imports }) => file.startsWith(folder) && imports.test(text));
  return { any, wasm: any && (!WEBGPU.test(text) || EITHER.test(text)) };
}

/** @param {string} name @param {string[]} include */
function project(name, include) {
  return { extends: /** @type {const} */ (true), test: { name, include, env: { ALLOY_TEST_DEVICE: name } } };
}

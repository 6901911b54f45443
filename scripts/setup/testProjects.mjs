import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './process.mjs';

/** A test that opens a device imports something that can. */
const OPENS_DEVICE = /from '[^']*\/(testing|dawn|\w+Testing)\.ts'/;
/** A test of WebGPU itself, or of what only a WebGPU device has. */
const WEBGPU_ALONE = /from '[^']*\/(webgpu\/\w+|dawn|webGpuDevice)\.ts'|ownTestDevice/;

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
    .map((file) => ({ file, text: readFileSync(join(root, file), 'utf8') }));
  const withDevice = files.filter(({ text }) => OPENS_DEVICE.test(text));
  const names = (/** @type {typeof files} */ some) => some.map(({ file }) => file);
  return [
    project('plain', names(files.filter((one) => !withDevice.includes(one)))),
    project('webgpu', names(withDevice)),
    project('wasm', names(withDevice.filter(({ text }) => !WEBGPU_ALONE.test(text)))),
  ];
}

/** @param {string} name @param {string[]} include */
function project(name, include) {
  return { extends: /** @type {const} */ (true), test: { name, include, env: { ALLOY_TEST_DEVICE: name } } };
}

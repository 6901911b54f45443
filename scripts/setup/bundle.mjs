import { join } from 'node:path';
import { root } from './process.mjs';

/**
 * Bundles a TypeScript program with everything it imports, except Dawn and Playwright, into ES modules for Node. Some packages load in
 * Node only this way: their modules are written for bundlers.
 * @param {string} entry inside the project
 * @param {string} outDir
 */
export async function bundle(entry, outDir) {
  const { build } = await import('vite');
  await build({
    root,
    configFile: false,
    logLevel: 'warn',
    build: {
      ssr: join(root, entry),
      outDir,
      emptyOutDir: true,
      target: 'node20',
      minify: false,
      copyPublicDir: false,
      rolldownOptions: { output: { entryFileNames: '[name].mjs', chunkFileNames: '[name]-[hash].mjs' } },
    },
    ssr: { noExternal: true, external: ['webgpu', '@playwright/test'] },
    resolve: { mainFields: ['module', 'main'] },
  });
}

/**
 * Builds a page of its own, with the scripts and kernels that it needs.
 * @param {string} folder of its index.html, inside the project
 * @param {string} outDir
 */
export async function bundlePage(folder, outDir) {
  const { build } = await import('vite');
  await build({
    root: join(root, folder),
    base: './',
    configFile: false,
    logLevel: 'warn',
    worker: { format: 'es' },
    build: { outDir, emptyOutDir: true, target: 'es2023', copyPublicDir: false },
  });
}

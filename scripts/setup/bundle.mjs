import { join } from 'node:path';
import { root } from './process.mjs';

/**
 * Bundles a TypeScript program with everything it imports, except Dawn, into ES modules for Node. Some packages load in
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
    ssr: { noExternal: true, external: ['webgpu'] },
    resolve: { mainFields: ['module', 'main'] },
  });
}

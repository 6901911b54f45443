import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './process.mjs';
import { resolveFile } from './serve.mjs';

const folder = join(root, 'recipes');

/**
 * Gives the studio the folder `recipes/` under the same path that it has in the project, in development and in the build,
 * so that page and command line read the same files.
 * @returns {import('vite').Plugin}
 */
export function recipesPlugin() {
  return {
    name: 'alloy:recipes',
    configureServer(server) {
      server.middlewares.use('/recipes', (request, response, next) => {
        const file = resolveFile(folder, request.url ?? '');
        if (file && existsSync(file)) response.end(readFileSync(file));
        else next();
      });
    },
    generateBundle() {
      const names = existsSync(folder) ? readdirSync(folder, { recursive: true, withFileTypes: true }) : [];
      for (const entry of names.filter((one) => one.isFile())) {
        const path = join(entry.parentPath, entry.name);
        const fileName = path.slice(root.length).replaceAll('\\', '/');
        this.emitFile({ type: 'asset', fileName, source: readFileSync(path) });
      }
    },
  };
}

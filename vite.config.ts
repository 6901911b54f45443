import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';
import { kernelsPlugin } from './scripts/setup/kernelsPlugin.mjs';
import { recipesPlugin } from './scripts/setup/recipesPlugin.mjs';
import { ISOLATION } from './scripts/setup/serve.mjs';
import { testProjects } from './scripts/setup/testProjects.mjs';

/** Tests that need the real models run in the mode `real` alone: `npm run test:real`. */
export default defineConfig(({ mode }) => ({
  base: './',
  plugins: [react(), recipesPlugin(), kernelsPlugin()],
  worker: { format: 'es' },
  build: { target: 'es2023', outDir: 'dist/app' },
  server: { headers: ISOLATION },
  preview: { headers: ISOLATION },
  test: {
    projects: testProjects(mode === 'real'),
    environment: 'node',
    testTimeout: 600_000,
    hookTimeout: 600_000,
    pool: 'forks',
    teardownTimeout: 5_000,
  },
}));

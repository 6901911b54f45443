import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';
import { recipesPlugin } from './scripts/setup/recipesPlugin.mjs';

/** Tests that need the real models run in the mode `real` alone: `npm run test:real`. */
export default defineConfig(({ mode }) => ({
  base: './',
  plugins: [react(), recipesPlugin()],
  worker: { format: 'es' },
  build: { target: 'es2023', outDir: 'dist/app' },
  test: {
    include:
      mode === 'real'
        ? ['src/**/*.real.test.ts']
        : ['src/**/*.test.{ts,tsx}', 'scripts/**/*.test.ts', 'bench/**/*.test.ts'],
    exclude: ['**/node_modules/**', ...(mode === 'real' ? [] : ['**/*.real.test.ts'])],
    environment: 'node',
    testTimeout: 600_000,
    hookTimeout: 600_000,
    pool: 'forks',
    teardownTimeout: 5_000,
  },
}));

import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';
import { recipesPlugin } from './scripts/setup/recipesPlugin.mjs';

export default defineConfig({
  base: './',
  plugins: [react(), recipesPlugin()],
  worker: { format: 'es' },
  build: { target: 'es2023', outDir: 'dist/app' },
  test: {
    include: ['src/**/*.test.{ts,tsx}', 'scripts/**/*.test.ts', 'bench/**/*.test.ts'],
    exclude: ['**/node_modules/**', '**/*.real.test.ts'],
    environment: 'node',
    testTimeout: 600_000,
    hookTimeout: 600_000,
    pool: 'forks',
    teardownTimeout: 5_000,
  },
});

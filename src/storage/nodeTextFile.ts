import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';

/** One small text on disk, replaced in one step. */
export function nodeTextFile(path: string): {
  read(): Promise<string | undefined>;
  write(text: string): Promise<void>;
} {
  return {
    read: () => readFile(path, 'utf8').catch(() => undefined),
    async write(text) {
      await mkdir(dirname(path), { recursive: true });
      const part = `${path}.${process.pid}`;
      await writeFile(part, text);
      await rename(part, path);
    },
  };
}

import { parseBytes } from '../util/bytes.ts';
import type { Arguments } from './command.ts';

/** What `--memory` allows, in bytes; without it there is no limit. @throws AlloyError `bad-argument` */
export function memoryLimit(args: Arguments): number {
  const text = args.text('memory');
  return text === undefined ? Number.POSITIVE_INFINITY : parseBytes(text, '--memory');
}

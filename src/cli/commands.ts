import type { Command } from './command.ts';
import { align } from './commands/align.ts';
import { chat } from './commands/chat.ts';
import { exportCommand } from './commands/export.ts';
import { fuse } from './commands/fuse.ts';
import { merge } from './commands/merge.ts';
import { models } from './commands/models.ts';
import { plan } from './commands/plan.ts';
import { score } from './commands/score.ts';
import { tokenize } from './commands/tokenize.ts';

/** In the order of `alloy help`. */
export const COMMANDS: readonly Command[] = [
  models,
  tokenize,
  score,
  chat,
  align,
  plan,
  fuse,
  merge,
  exportCommand,
];

import type { Command } from './command.ts';
import { COMMANDS } from './commands.ts';
import { HUB_HELP } from './hub.ts';

const MODEL = `MODEL is a built-in name (alloy models), a Hugging Face folder, a .gguf file, the folder of a finished run, or a model
of the hub, which is downloaded once: hub:OWNER/NAME, hub:OWNER/NAME@REVISION, hub:OWNER/NAME:Q4_K_M (one of its GGUF
files), hub:OWNER/NAME/FILE.gguf, or its address.`;

const COMMON = `  --json         one JSON document on stdout and nothing else there
  -q, --quiet    no progress on stderr
  -h, --help     this text
`;

const DEVICE_HELP = `  --device NAME  what computes: webgpu (a GPU), wasm (the processor) or auto (default: a GPU where there is one);
                 ALLOY_DEVICE sets it for every command
`;

/** `alloy help`. */
export function overview(): string {
  const width = Math.max(...COMMANDS.map(({ name }) => name.length));
  const lines = COMMANDS.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`);
  return `Alloy fuses small chat models.

Usage: alloy COMMAND [WORDS] [OPTIONS]

${lines.join('\n')}
  ${'help'.padEnd(width)}  this text, or that of a command: alloy help COMMAND

${MODEL}

Exit codes: 0 done, 1 a fault inside, 2 wrong usage, 3 bad input or
a model that cannot be had, 4 no device or a lost one,
5 out of memory or disk, 130 stopped by Ctrl-C (start the same command again to go on).
`;
}

/** `alloy help COMMAND`. */
export function commandHelp({ usage, summary, help, opensDevice }: Command): string {
  const model = /\bMODEL|PIVOT/.test(usage) ? `\n${MODEL}\n` : '';
  return `Usage: alloy ${usage}\n\n${summary}.\n\n${help.trimEnd()}\n${opensDevice ? DEVICE_HELP : ''}${COMMON}\n${HUB_HELP}${model}`;
}

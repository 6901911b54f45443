import { runCli } from './run.ts';
import { processTerminal } from './terminal.ts';

const code = await runCli(process.argv.slice(2), processTerminal());
// Dawn keeps threads of its own, so the process is ended by hand once both streams are through.
await new Promise<void>((resolve) => process.stdout.write('', () => resolve()));
process.exit(code);

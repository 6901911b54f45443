import type { Device } from '../device/device.ts';
import { openDawnForRuntimes } from '../device/webgpu/dawn.ts';
import { nodeOnnxHost } from '../storage/nodeOnnxHost.ts';
import { AlloyError } from '../util/errors.ts';
import { provideOnnxHost } from '../util/onnxHost.ts';
import { type Command, type CommandContext, parseCommand, UsageError } from './command.ts';
import { COMMANDS } from './commands.ts';
import { exitCode } from './exitCode.ts';
import { commandHelp, overview } from './help.ts';
import { HubShelf } from './hub.ts';
import { ModelShelf } from './modelShelf.ts';
import { openNodeDevice } from './nodeDevice.ts';
import { Progress } from './progress.ts';
import type { Terminal } from './terminal.ts';

export interface RunOptions {
  /** Where built-in models lie; the project's by default. */
  readonly builtinFolder?: string;
  /** Opens the device; the one that was chosen by default. */
  readonly openDevice?: () => Promise<Device>;
}

/** Runs one command. @returns the exit code; see `exitCode` */
export async function runCli(
  argv: readonly string[],
  terminal: Terminal,
  options: RunOptions = {},
): Promise<number> {
  try {
    return await dispatch(argv, terminal, options);
  } catch (error) {
    terminal.err(`${describe(error, terminal)}\n`);
    return exitCode(error);
  }
}

async function dispatch(argv: readonly string[], terminal: Terminal, options: RunOptions): Promise<number> {
  const [name, ...rest] = argv;
  if (name === undefined) throw new UsageError(`no command given\n\n${overview()}`);
  if (name === 'help' || name === '--help' || name === '-h') {
    terminal.out(rest[0] === undefined ? overview() : commandHelp(commandOf(rest[0])));
    return 0;
  }
  const command = commandOf(name);
  const args = parseCommand(command, rest);
  if (args.flag('help')) {
    terminal.out(commandHelp(command));
    return 0;
  }
  provideOnnxHost(nodeOnnxHost(openDawnForRuntimes));
  const progress = new Progress(terminal, args.flag('quiet'));
  const openDevice = options.openDevice ?? (() => openNodeDevice(args, terminal.environment, progress));
  let opened: Promise<Device> | undefined;
  let hub: HubShelf | undefined;
  const openHub = () => {
    hub ??= new HubShelf(terminal, progress, args);
    return hub;
  };
  const context: CommandContext = {
    terminal,
    progress,
    shelf: new ModelShelf(terminal.environment, { builtinFolder: options.builtinFolder, hub: openHub }),
    hub: openHub,
    args,
    json: args.flag('json'),
    quiet: args.flag('quiet'),
    device() {
      opened ??= openDevice();
      return opened;
    },
    reopenDevice() {
      opened = openDevice();
      return opened;
    },
  };
  try {
    const result = await command.run(context);
    progress.clear();
    if (result) terminal.out(context.json ? `${JSON.stringify(result.json)}\n` : ensureLine(result.text));
    return 0;
  } finally {
    progress.clear();
    await opened?.then(
      (device) => device.dispose(),
      () => undefined,
    );
  }
}

function commandOf(name: string): Command {
  const command = COMMANDS.find((one) => one.name === name);
  if (command) return command;
  throw new UsageError(
    `there is no command "${name}"; choose among ${COMMANDS.map((one) => one.name).join(', ')}`,
  );
}

/** One sentence for people; the stack too where `ALLOY_DEBUG` is set. */
function describe(error: unknown, { environment }: Terminal): string {
  const known = error instanceof AlloyError || error instanceof UsageError;
  const message = error instanceof Error ? error.message : String(error);
  const stack = error instanceof Error ? `\n${error.stack}` : '';
  if (environment.ALLOY_DEBUG) return `alloy: ${message}${stack}`;
  if (known) return `alloy: ${message}`;
  return `alloy: something went wrong inside (${message}); set ALLOY_DEBUG=1 to see where, and please report it.`;
}

function ensureLine(text: string): string {
  return text.endsWith('\n') ? text : `${text}\n`;
}

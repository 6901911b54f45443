import { type ParseArgsConfig, parseArgs } from 'node:util';
import type { Device } from '../device/device.ts';
import { AlloyError } from '../util/errors.ts';
import { HUB_OPTIONS, type HubShelf } from './hub.ts';
import type { ModelShelf } from './modelShelf.ts';
import type { Progress } from './progress.ts';
import type { Terminal } from './terminal.ts';

type OptionsConfig = NonNullable<ParseArgsConfig['options']>;
type OptionValues = Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>;

/** The command was written in a way that it does not have; exit code 2. */
export class UsageError extends Error {}

/** What a command works with. */
export interface CommandContext {
  readonly terminal: Terminal;
  readonly progress: Progress;
  readonly shelf: ModelShelf;
  /** @throws AlloyError `bad-argument` for options of the hub that are wrong */
  hub(): HubShelf;
  readonly args: Arguments;
  readonly json: boolean;
  readonly quiet: boolean;
  /** Opens the device when it is first asked for. */
  device(): Promise<Device>;
  /** Opens another one, after a loss. */
  reopenDevice(): Promise<Device>;
}

/** What a command found: one JSON document, and the same for people. */
export interface CommandResult {
  readonly json: unknown;
  readonly text: string;
}

export interface Command {
  readonly name: string;
  /** One line of `alloy help`. */
  readonly summary: string;
  /** The words behind `alloy`. */
  readonly usage: string;
  /** Arguments and options, as `alloy help COMMAND` shows them. */
  readonly help: string;
  readonly options: OptionsConfig;
  /** Whether it has `--device`. */
  readonly opensDevice?: boolean;
  /** How many words it takes. */
  readonly words: readonly [least: number, most: number];
  run(context: CommandContext): Promise<CommandResult | undefined>;
}

const COMMON = {
  json: { type: 'boolean' },
  quiet: { type: 'boolean', short: 'q' },
  help: { type: 'boolean', short: 'h' },
  ...HUB_OPTIONS,
} as const satisfies OptionsConfig;

/** Of commands that open a device. */
const DEVICE_OPTION = { device: { type: 'string' } } as const satisfies OptionsConfig;

/** @throws UsageError for unknown or incomplete options and for a wrong number of words */
export function parseCommand(command: Command, argv: readonly string[]): Arguments {
  let values: OptionValues;
  let positionals: string[];
  try {
    const options = { ...COMMON, ...(command.opensDevice && DEVICE_OPTION), ...command.options };
    ({ values, positionals } = parseArgs({ args: [...argv], options, allowPositionals: true, strict: true }));
  } catch (error) {
    const [what = ''] = (error instanceof Error ? error.message : String(error)).split(/\.?\n|\. /u);
    throw new UsageError(`${what.replace(/\.$/u, '')}; use it as: alloy ${command.usage}`);
  }
  const [least, most] = command.words;
  if (values.help !== true && (positionals.length < least || positionals.length > most)) {
    const what = positionals.length < least ? 'something is missing' : `"${positionals[most]}" is too much`;
    throw new UsageError(`${what}; use it as: alloy ${command.usage}`);
  }
  return new Arguments(values, positionals);
}

/** Words and options of a command, with their values checked. */
export class Arguments {
  readonly words: readonly string[];
  readonly #values: OptionValues;

  constructor(values: OptionValues, words: readonly string[]) {
    this.#values = values;
    this.words = words;
  }

  word(index: number): string {
    const word = this.words[index];
    if (word === undefined) throw new AlloyError('internal', `word ${index} of the command is missing`);
    return word;
  }

  flag(name: string): boolean {
    return this.#values[name] === true;
  }

  text(name: string): string | undefined {
    const value = this.#values[name];
    return typeof value === 'string' ? value : undefined;
  }

  /** @throws UsageError for what is no number of that kind */
  number(
    name: string,
    { least = Number.NEGATIVE_INFINITY, most = Number.POSITIVE_INFINITY, whole = false } = {},
  ): number | undefined {
    const text = this.text(name);
    return text === undefined ? undefined : toNumber(text, `--${name}`, { least, most, whole });
  }

  /** Numbers separated by commas. @throws UsageError */
  numbers(name: string): readonly number[] | undefined {
    return this.text(name)
      ?.split(',')
      .map((part) => toNumber(part.trim(), `--${name}`, {}));
  }

  /** @throws UsageError for a word that is not among the choices */
  choice<const T extends string>(name: string, choices: readonly T[]): T | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const found = choices.find((choice) => choice === text);
    if (found === undefined)
      throw new UsageError(`--${name} is "${text}"; choose among ${choices.join(', ')}`);
    return found;
  }
}

function toNumber(
  text: string,
  option: string,
  range: { least?: number; most?: number; whole?: boolean },
): number {
  const { least = Number.NEGATIVE_INFINITY, most = Number.POSITIVE_INFINITY, whole = false } = range;
  const value = text === '' ? Number.NaN : Number(text);
  if (!Number.isFinite(value) || (whole && !Number.isInteger(value)))
    throw new UsageError(`${option} is "${text}"; give a ${whole ? 'whole ' : ''}number`);
  if (value < least || value > most) {
    const range =
      most === Number.POSITIVE_INFINITY ? `${least} or more` : `a number from ${least} to ${most}`;
    throw new UsageError(`${option} is ${text}; give ${range}`);
  }
  return value;
}

import type { HeldModel } from '../../pipeline/hubModels.ts';
import { formatBytes } from '../../util/bytes.ts';
import { AlloyError } from '../../util/errors.ts';
import { type Command, type CommandContext, type CommandResult, UsageError } from '../command.ts';
import { textTable } from '../table.ts';

const ACTIONS = ['list', 'get', 'show', 'rm', 'verify'] as const;
type Action = (typeof ACTIONS)[number];

export const models: Command = {
  name: 'models',
  summary: 'List the models that are here; get, check and delete models of the hub',
  usage: 'models [list | show MODEL | get MODEL | verify [MODEL] | rm MODEL…]',
  help: `  list           built-in models, and those of the hub that were got (as without a word)
  show MODEL     the forms in which the hub has a model, with their sizes
  get MODEL      download a model; a download that was stopped goes on where it was
  verify MODEL   read every file of a downloaded model (without MODEL: of all) and compare its hash
  rm MODEL…      delete downloaded models; without a revision every one that is here

Here MODEL is one of the hub. Downloads are kept in $ALLOY_CACHE/hub (default ~/.cache/alloy/hub).
`,
  options: {},
  words: [0, Number.POSITIVE_INFINITY],
  async run(context) {
    const [word = 'list', ...references] = context.args.words;
    const action = ACTIONS.find((one) => one === word);
    if (!action) throw new UsageError(`models cannot "${word}"; it can ${ACTIONS.join(', ')}`);
    checkCount(action, references.length);
    const [reference = ''] = references;
    switch (action) {
      case 'list':
        return list(context);
      case 'get':
        return getModel(context, reference);
      case 'show':
        return show(context, reference);
      case 'rm':
        return remove(context, references);
      case 'verify':
        return verify(context, references[0]);
      default:
        return action satisfies never;
    }
  },
};

function checkCount(action: Action, count: number): void {
  const [least, most] = {
    list: [0, 0],
    get: [1, 1],
    show: [1, 1],
    rm: [1, Number.POSITIVE_INFINITY],
    verify: [0, 1],
  }[action] as [number, number];
  if (count < least) throw new UsageError(`models ${action} needs a model, such as hub:OWNER/NAME`);
  if (count > most) throw new UsageError(`models ${action} takes ${most === 0 ? 'no model' : 'one model'}`);
}

async function list({ shelf, hub }: CommandContext): Promise<CommandResult> {
  const builtin = await shelf.builtin();
  const held = await hub().models.list();
  return {
    json: [...builtin, ...held.map((model) => ({ name: model.reference, from: 'hub', ...model }))],
    text: [builtinText(builtin), ...(held.length > 0 ? [heldText(held)] : [])].join('\n\n'),
  };
}

function builtinText(all: Awaited<ReturnType<CommandContext['shelf']['builtin']>>): string {
  if (all.length === 0)
    return 'There are no built-in models; give a Hugging Face folder, a .gguf file or a model of the hub instead of a name.';
  const rows = all.map(({ name, role, family, parameters, vocab, bytes, knows, scores }) => [
    name,
    role,
    family,
    `${(parameters / 1e6).toFixed(1)} M`,
    String(vocab),
    `${(bytes / 2 ** 20).toFixed(1)} MiB`,
    knows.map((domain) => domain + scoreText(scores[domain])).join(', '),
  ]);
  const head = ['name', 'role', 'family', 'parameters', 'vocabulary', 'file', 'knows (right answers)'];
  return textTable(head, rows, [3, 4, 5]);
}

function scoreText(score: number | undefined): string {
  return score === undefined ? '' : ` ${Math.round(100 * score)} %`;
}

function heldText(held: readonly HeldModel[]): string {
  const rows = held.map(({ reference, label, bytes, bytesHere, complete, revision, licence, usedAt }) => [
    reference,
    label,
    complete ? formatBytes(bytes) : `${formatBytes(bytesHere)} of ${formatBytes(bytes)}`,
    revision,
    licence ?? '–',
    new Date(usedAt).toISOString().slice(0, 10),
  ]);
  const head = ['from the hub', 'form', 'size', 'got as', 'licence', 'last used'];
  const unfinished = held.some(({ complete }) => !complete);
  const hint = unfinished ? '\n\nWhat is not complete goes on with: alloy models get MODEL' : '';
  return textTable(head, rows, [2]) + hint;
}

async function getModel({ hub }: CommandContext, reference: string): Promise<CommandResult> {
  const shelf = hub();
  const record = await shelf.get(reference);
  const held = await shelf.models.held(record);
  return {
    json: { name: held.reference, ...held, files: record.files },
    text: `${held.reference} is here: ${record.files.length} ${record.files.length === 1 ? 'file' : 'files'}, ${formatBytes(record.bytes)}. Its revision "${record.revision}" is the commit ${record.commit}.`,
  };
}

async function show({ hub }: CommandContext, reference: string): Promise<CommandResult> {
  const shelf = hub();
  const look = await shelf.watched(
    (options) => shelf.models.look(reference, options),
    `Looking at ${reference}`,
  );
  const { listing, variants, chosen, here, revision } = look;
  const { id, commit, licence, gated } = listing;
  const all = variants.map(({ key, format, label, bytes }) => ({
    key,
    format,
    label,
    bytes,
    here: here.includes(key),
    chosen: key === chosen,
  }));
  const rows = all.map((one) => [
    one.chosen ? '→' : '',
    one.label,
    formatBytes(one.bytes),
    one.here ? 'here' : '',
    one.key,
  ]);
  const terms = gated ? ' Its terms have to be accepted on its page.' : '';
  const head = `${id} at ${revision}: commit ${commit}, licence ${licence ?? 'not given'}.${terms}`;
  return {
    json: { id, revision, commit, ...(licence !== undefined && { licence }), gated, variants: all },
    text:
      rows.length > 0
        ? `${head}\n\n${textTable(['', 'form', 'size', '', 'file'], rows, [2])}`
        : `${head}\nIt has neither safetensors nor a GGUF file, so Alloy cannot read it.`,
  };
}

async function remove({ hub }: CommandContext, references: readonly string[]): Promise<CommandResult> {
  const { models: kept } = hub();
  const found = (await Promise.all(references.map((text) => kept.records(text)))).flat();
  const before = await kept.list();
  let freed = 0;
  for (const record of new Set(found)) freed += await kept.remove(record);
  const after = new Set((await kept.list()).map(({ reference }) => reference));
  const removed = before.map(({ reference }) => reference).filter((reference) => !after.has(reference));
  return {
    json: { removed, bytes: freed },
    text: `Deleted ${removed.join(', ')}: ${formatBytes(freed)} are free.`,
  };
}

async function verify({ hub }: CommandContext, reference: string | undefined): Promise<CommandResult> {
  const shelf = hub();
  const records = reference === undefined ? await shelf.models.all() : await shelf.models.records(reference);
  const checked: { id: string; commit: string; form: string; damaged: readonly string[] }[] = [];
  for (const record of records.filter(({ complete }) => complete)) {
    const { id, commit, label } = record;
    const damaged = await shelf.watched(
      (options) => shelf.models.verify(record, options),
      `Checking ${id} ${label}`,
    );
    checked.push({ id, commit, form: label, damaged });
  }
  const bad = checked.filter(({ damaged }) => damaged.length > 0);
  const [first] = bad;
  if (first) {
    throw new AlloyError(
      'bad-file',
      `${bad.map(({ id, damaged }) => `${damaged.join(', ')} of ${id}`).join('; ')}: the content was damaged and was removed; get it again (alloy models get hub:${first.id}@${first.commit}).`,
    );
  }
  const text =
    checked.length === 0
      ? 'There is no complete model of the hub here to check.'
      : `Every file of ${checked.map(({ id, form }) => `${id} (${form})`).join(', ')} has its hash.`;
  return { json: { checked }, text };
}

/** Damaged and lying model folders: one sentence with the file and the field, and what to do. */
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runCli } from './run.ts';
import { fakeTerminal, writeModel } from './testing.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'alloy-bad-'));
  writeModel(join(folder, 'good'), { family: 'llama', merges: ['t h', 'th e'], seed: 1 });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

type Json = Record<string, unknown>;

async function alloy(...argv: string[]) {
  const terminal = fakeTerminal(folder);
  const code = await runCli(argv, terminal, { builtinFolder: folder });
  return { code, stdout: terminal.stdout(), stderr: terminal.stderr() };
}

/** The sentence that scoring with a changed copy of the good folder ends with. */
async function sentence(change: (path: string) => void): Promise<string> {
  const path = join(folder, 'bad');
  rmSync(path, { recursive: true, force: true });
  cpSync(join(folder, 'good'), path, { recursive: true });
  change(path);
  const { code, stdout, stderr } = await alloy('score', 'bad', '--text', 'the', '--json');
  expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
  expect(stderr).toMatch(/^alloy: [^\n]*\.\n$/u);
  return stderr;
}

function rewrite(path: string, file: string, change: (document: Json) => unknown): void {
  const document = JSON.parse(readFileSync(join(path, file), 'utf8')) as Json;
  writeFileSync(join(path, file), JSON.stringify(change(document)));
}

/** Changes the header of the weights, or the bytes behind it. */
function reweigh(path: string, change: (header: Record<string, Json>, data: Buffer) => void): void {
  const file = join(path, 'model.safetensors');
  const bytes = readFileSync(file);
  const start = 8 + Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, start)) as Record<string, Json>;
  const data = bytes.subarray(start);
  change(header, data);
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  writeFileSync(file, Buffer.concat([length, json, data]));
}

const NORM = 'model.norm.weight';
const startOf = (header: Record<string, Json>, name: string) =>
  Number((header[name]!.data_offsets as number[])[0]);

test.each<[string, Json, RegExp]>([
  ['another architecture', { model_type: 'mamba' }, /config\.json: the architecture "mamba".*llama/u],
  ['a name of JavaScript as architecture', { model_type: 'constructor' }, /architecture "constructor"/u],
  ['no width', { hidden_size: undefined }, /config\.json: the field hidden_size is wrong \(missing\)/u],
  [
    'a text for a number',
    { hidden_size: '32' },
    /hidden_size is wrong \(expected number, received string\)/u,
  ],
  ['more layers than memory', { num_hidden_layers: 1e9 }, /num_hidden_layers is wrong \(too big/u],
  [
    'more layers than the file',
    { num_hidden_layers: 3 },
    /safetensors: the tensor model\.layers\.2.*is missing/u,
  ],
  ['fewer layers than the file', { num_hidden_layers: 1 }, /the tensor model\.layers\.1\..*has no place/u],
  ['another vocabulary', { vocab_size: 99 }, /embed_tokens\.weight has the shape.*\[99, 32\]/u],
  ['heads that do not divide', { num_key_value_heads: 3 }, /num_attention_heads 4.*num_key_value_heads 3/u],
  ['packed weights', { quantization_config: { quant_method: 'gptq' } }, /quantization_config.*gptq.*GGUF/u],
  [
    'an unknown rope scaling',
    { rope_scaling: { rope_type: 'spiral', factor: 4 } },
    /rope scaling "spiral" is not/u,
  ],
])('a config with %s', async (_, change, wanted) => {
  expect(await sentence((path) => rewrite(path, 'config.json', (one) => ({ ...one, ...change })))).toMatch(
    wanted,
  );
});

test.each<[string, (header: Record<string, Json>, data: Buffer) => void, RegExp]>([
  [
    'whole numbers',
    (header) => Object.assign(header[NORM] ?? {}, { dtype: 'I32' }),
    /model\.norm\.weight holds I32/u,
  ],
  [
    'a number that is none',
    (header, data) => data.writeFloatLE(Number.NaN, startOf(header, NORM)),
    /safetensors: the tensor model\.norm\.weight holds numbers that are not finite/u,
  ],
  [
    'an infinite one in a matrix',
    (header, data) => data.writeFloatLE(-Infinity, startOf(header, 'model.embed_tokens.weight')),
    /the tensor model\.embed_tokens\.weight holds numbers that are not finite/u,
  ],
])('weights with %s', async (_, change, wanted) => {
  expect(await sentence((path) => reweigh(path, change))).toMatch(wanted);
});

const model = (change: Json) => (document: Json) => ({
  ...document,
  model: { ...(document.model as Json), ...change },
});

test.each<[string, string, (document: Json) => unknown, RegExp]>([
  ['of an unknown kind', 'tokenizer.json', model({ type: 'WordPiece' }), /model\.type is "WordPiece"/u],
  ['without tokens', 'tokenizer.json', model({ type: 'Unigram', vocab: [] }), /model\.vocab is empty/u],
  [
    'with a token beyond the embedding',
    'tokenizer.json',
    (one) => model({ vocab: { ...((one.model as Json).vocab as Json), the: 5000 } })(one),
    /tokenizer\.json: the token "the" has the id 5000.*vocab_size/u,
  ],
  ['that is a list', 'tokenizer_config.json', () => [], /tokenizer_config\.json holds no JSON object/u],
  [
    'with a number as template',
    'tokenizer_config.json',
    () => ({ chat_template: 5 }),
    /chat_template is neither/u,
  ],
  [
    'with a template that does not parse',
    'tokenizer_config.json',
    () => ({ chat_template: '{% if %}' }),
    /bad\/tokenizer_config\.json: the chat template cannot be read \(/u,
  ],
  [
    'with a template that refuses',
    'tokenizer_config.json',
    () => ({ chat_template: "{{ raise_exception('never') }}" }),
    /bad\/tokenizer_config\.json: the chat template refuses the conversation \(never\)/u,
  ],
  [
    'with a template that writes nothing',
    'tokenizer_config.json',
    () => ({ chat_template: '{{ nothing }}' }),
    /bad\/tokenizer_config\.json: the chat template writes nothing/u,
  ],
])('a tokenizer %s', async (_, file, change, wanted) => {
  expect(await sentence((path) => rewrite(path, file, change))).toMatch(wanted);
});

test('a template in a file of its own is named', async () => {
  const message = await sentence((path) => writeFileSync(join(path, 'chat_template.jinja'), '{% for %}'));
  expect(message).toMatch(/bad\/chat_template\.jinja: the chat template cannot be read/u);
});

test('paths that lead nowhere', async () => {
  symlinkSync('loop', join(folder, 'loop'));
  for (const path of ['loop', 'x'.repeat(5000), 'good/config.json/x']) {
    const { code, stderr } = await alloy('score', path, '--text', 'a');
    expect(code).toBe(3);
    expect(stderr).toMatch(/^alloy: MODEL: there is no model [^\n]*\n$/u);
  }
});

import type { Device } from '../device/device.ts';
import { GgufModel } from '../formats/ggufModel.ts';
import { float8Packing, scaledFolder } from '../formats/scaledFolder.ts';
import { hasTensorFolder, type OpenFile, openTensorFolder } from '../formats/shardedSafetensors.ts';
import { type DecoderConfig, parseConfig } from '../models/config.ts';
import type { LoadedModel } from '../models/loadedModel.ts';
import { findOnnx, loadOnnx, type OnnxSource, onnxConfig, onnxTensors } from '../models/onnxModel.ts';
import { folderTensors, ggufTensors, type Precision, type TensorSource } from '../models/tensorSource.ts';
import { Tokenizer } from '../models/tokenizer.ts';
import { checkTensors, loadDecoder } from '../models/weights.ts';
import { AlloyError } from '../util/errors.ts';
import type { FileSource } from '../util/fileSource.ts';
import { hashOf, hashOfFile } from '../util/hash.ts';
import { ggufCompanions } from './ggufCompanions.ts';
import { ModelText } from './modelText.ts';

/** A model whose files are open and checked; its weights are read when they are loaded. */
export interface OpenModel {
  readonly name: string;
  /** Hash of everything that decides what the model computes. */
  readonly identity: string;
  readonly config: DecoderConfig;
  readonly text: ModelText;
  readonly tensors: TensorSource;
  /** Its `config.json`, or what one would say. */
  readonly document: Readonly<Record<string, unknown>>;
  /** Files that belong to the model beside its config and weights: tokenizer, chat template … */
  readonly companions: readonly FileSource[];
  /** There where the model is frozen: a source that onnxruntime-web runs. */
  readonly onnx?: OnnxSource;
  /** Where a model of the hub is from, to the commit and the hash. */
  readonly origin?: ModelOrigin;
}

export interface ModelOrigin {
  /** Names exactly these files, whatever becomes of the branch: `hub:OWNER/NAME@COMMIT`. */
  readonly reference: string;
  readonly files: readonly { readonly path: string; readonly bytes: number; readonly hash: string }[];
}

const TOKENIZER_CONFIG = 'tokenizer_config.json';
const TEMPLATE = 'chat_template.jinja';
const COMPANIONS = [
  'tokenizer.json',
  TOKENIZER_CONFIG,
  TEMPLATE,
  'special_tokens_map.json',
  'added_tokens.json',
  'generation_config.json',
  'tokenizer.model',
  'vocab.json',
  'merges.txt',
];

/**
 * @param openBeside finds the other parts of a model that is split into several files
 * @throws AlloyError `bad-file` or `unsupported` with the file and the field
 */
export async function openGguf(name: string, file: FileSource, openBeside?: OpenFile): Promise<OpenModel> {
  const model = await GgufModel.open(file, openBeside);
  const { parts } = model.gguf;
  const config = parseConfig(model.config, file.name);
  const tokenizer = Tokenizer.fromGguf(model.gguf.metadata, file.name);
  const tensors = ggufTensors(model);
  checkTensors(config, tensors);
  checkVocabulary(tokenizer, config);
  return {
    name,
    identity:
      parts.length > 1 ? await hashOf(await Promise.all(parts.map(hashOfFile))) : await hashOfFile(file),
    config,
    text: new ModelText(tokenizer),
    tensors,
    document: model.config,
    companions: ggufCompanions(model.gguf, tokenizer),
  };
}

/**
 * A Hugging Face folder: `config.json`, `tokenizer.json` (and its config), and weights: `*.safetensors`, or else ONNX.
 * @param onnxFile the ONNX file of the folder that is wanted, whatever else is there
 */
export async function openFolder(
  name: string,
  folder: string,
  open: OpenFile,
  onnxFile?: string,
): Promise<OpenModel> {
  const document = await readJson(open, folder, 'config.json');
  const onnx =
    onnxFile !== undefined || !(await hasTensorFolder(open)) ? await findOnnx(open, folder, onnxFile) : null;
  const tokenizer = await folderTokenizer(folder, open);
  return onnx === null
    ? await openTensors(name, folder, open, document, tokenizer)
    : await openFrozen(name, open, document, tokenizer, onnx);
}

async function folderTokenizer(folder: string, open: OpenFile): Promise<Tokenizer> {
  const tokenizerConfig = (await open(TOKENIZER_CONFIG)) && (await readJson(open, folder, TOKENIZER_CONFIG));
  const template = await open(TEMPLATE);
  return Tokenizer.fromJson(
    await readJson(open, folder, 'tokenizer.json'),
    template ? { ...(tokenizerConfig ?? {}), chat_template: await readText(template) } : tokenizerConfig,
    `${folder}/tokenizer.json`,
    `${folder}/${template ? TEMPLATE : TOKENIZER_CONFIG}`,
  );
}

async function openFrozen(
  name: string,
  open: OpenFile,
  document: object,
  tokenizer: Tokenizer,
  onnx: OnnxSource,
): Promise<OpenModel> {
  const config = onnxConfig(document, onnx);
  checkVocabulary(tokenizer, config);
  const opened = await Promise.all(onnx.files.map(hashOfFile));
  return {
    name,
    identity: await hashOf({
      onnx: true,
      opened,
      template: tokenizer.chatTemplate,
      size: tokenizer.vocabSize,
    }),
    config,
    text: new ModelText(tokenizer),
    tensors: onnxTensors(onnx),
    document: { ...document },
    companions: await foundCompanions(open),
    onnx,
  };
}

async function foundCompanions(open: OpenFile): Promise<FileSource[]> {
  const companions = await Promise.all(COMPANIONS.map((file) => open(file)));
  return companions.filter((file) => file !== null);
}

async function openTensors(
  name: string,
  folder: string,
  open: OpenFile,
  document: object,
  tokenizer: Tokenizer,
): Promise<OpenModel> {
  const config = parseConfig(document, `${folder}/config.json`);
  const { quantization_config: quantization } = document as { readonly quantization_config?: unknown };
  const packing = float8Packing(quantization, `${folder}/config.json`);
  const opened: string[] = [];
  const tensorFolder = await openTensorFolder(async (file) => {
    const source = await open(file);
    if (source) opened.push(await hashOfFile(source));
    return source;
  }, folder);
  const tensors = folderTensors(scaledFolder(tensorFolder, packing));
  checkTensors(config, tensors);
  checkVocabulary(tokenizer, config);
  const identity = await hashOf({
    config,
    opened,
    template: tokenizer.chatTemplate,
    size: tokenizer.vocabSize,
  });
  return {
    name,
    identity,
    config,
    text: new ModelText(tokenizer),
    tensors,
    document: { ...document },
    companions: await foundCompanions(open),
  };
}

/** Added tokens may lie beyond the embedding (models without the images that their tokenizer knows), others may not. */
function checkVocabulary(tokenizer: Tokenizer, { vocabSize }: DecoderConfig): void {
  for (let id = vocabSize; id < tokenizer.vocabSize; id++) {
    const text = tokenizer.tokenText(id);
    if (text === '' || tokenizer.addedToken(id) !== undefined) continue;
    throw new AlloyError(
      'bad-file',
      `${tokenizer.file}: the token ${JSON.stringify(text)} has the id ${id}, but the model's vocabulary has ${vocabSize} (vocab_size); use the tokenizer that belongs to the weights.`,
    );
  }
}

/** Puts a model's weights on the GPU; of a frozen one, opens a session of its runtime. */
export async function loadModel(
  device: Device,
  model: OpenModel,
  options: { readonly precision?: Precision; readonly signal?: AbortSignal } = {},
): Promise<LoadedModel> {
  const { config, onnx } = model;
  if (onnx) return await loadOnnx(device, onnx, config);
  const { weights, dispose } = await loadDecoder(device, config, model.tensors, options);
  return { config, weights, dispose };
}

/** @throws AlloyError `bad-file` for log-probabilities that are not finite: weights so large that sums overflow */
export function checkLogProbs({ tensors: { file } }: OpenModel, logProbs: Float32Array): void {
  if (logProbs.every(Number.isFinite)) return;
  throw new AlloyError(
    'bad-file',
    `${file}: what the model computes from its weights is not finite; the file is damaged, get it again.`,
  );
}

async function readText(file: FileSource): Promise<string> {
  return new TextDecoder().decode(await file.read(0, file.bytes));
}

/** A JSON object beside a model's weights. @throws AlloyError `missing-file`, `bad-file` */
export async function readJson(open: OpenFile, folder: string, name: string): Promise<object> {
  const file = await open(name);
  if (!file) {
    throw new AlloyError(
      'missing-file',
      `${folder} has no ${name}; use a complete Hugging Face model folder or a .gguf file.`,
    );
  }
  const text = await readText(file);
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    throw new AlloyError('bad-file', `${folder}/${name} is not valid JSON; download it again.`, { cause });
  }
  if (typeof document === 'object' && document !== null && !Array.isArray(document)) return document;
  throw new AlloyError('bad-file', `${folder}/${name} holds no JSON object; download it again.`);
}

/** A decoder that comes as ONNX: frozen, run by onnxruntime-web, read by our row kernels. */

import { type Device, isOnProcessor } from '../device/device.ts';
import { sharedDevice } from '../device/webgpu/sharedDevice.ts';
import { type OnnxHeader, readOnnxHeader } from '../formats/onnx.ts';
import type { OpenFile } from '../formats/shardedSafetensors.ts';
import { AlloyError } from '../util/errors.ts';
import type { FileSource } from '../util/fileSource.ts';
import type { DecoderConfig } from './config.ts';
import type { LoadedModel } from './loadedModel.ts';
import { type OnnxDecoder, onnxFeeds, readOnnxDecoder } from './onnxInputs.ts';
import { ONNX_PLACES, type OnnxPlace, type OnnxSession, openOnnxSession } from './onnxRuntime.ts';
import { type OnnxLogits, OnnxScorer } from './onnxScorer.ts';
import type { TensorSource } from './tensorSource.ts';

/** Variants of one model as its folder may have them, the most precise first. */
const VARIANTS = [
  'model',
  'model_fp16',
  'model_quantized',
  'model_int8',
  'model_uint8',
  'model_q4',
  'model_q4f16',
  'model_bnb4',
];
const MERGED = ['decoder_model_merged', 'decoder_model'];

/** An ONNX file of a model's folder with what its header says. */
export interface OnnxSource {
  /** The file that errors name. */
  readonly file: string;
  readonly decoder: OnnxDecoder;
  /** The ONNX file and those beside it that hold weights. */
  readonly files: readonly FileSource[];
  readonly header: OnnxHeader;
}

/**
 * The ONNX file of a Hugging Face folder.
 * @param wanted a path of the folder, where a person names one; otherwise the most precise variant in `onnx/` or the folder
 * @returns null where the folder has none
 * @throws AlloyError `missing-file` for weights beside the file that are not there; `bad-file`, `unsupported`
 */
export async function findOnnx(open: OpenFile, folder: string, wanted?: string): Promise<OnnxSource | null> {
  const names = [...VARIANTS, ...MERGED].flatMap((name) => [`onnx/${name}.onnx`, `${name}.onnx`]);
  for (const path of wanted === undefined ? names : [wanted]) {
    const source = await open(path);
    if (source !== null) return await openOnnx(source, path, open, folder);
  }
  return null;
}

async function openOnnx(
  source: FileSource,
  path: string,
  open: OpenFile,
  folder: string,
): Promise<OnnxSource> {
  const header = await readOnnxHeader(source);
  const decoder = readOnnxDecoder(header, source.name);
  const inside = path.includes('/') ? path.slice(0, path.lastIndexOf('/') + 1) : '';
  const files = [source];
  for (const location of header.external) {
    if (/(^|[\\/])\.\.([\\/]|$)|^[\\/]/u.test(location)) {
      throw new AlloyError(
        'bad-file',
        `${source.name}: it names weights at ${JSON.stringify(location)}, outside its folder; get the file again.`,
      );
    }
    const part = await open(inside + location.replace(/^\.\//u, ''));
    if (part === null) {
      throw new AlloyError(
        'missing-file',
        `${source.name}: its weights are in ${location}, which is missing from ${folder}; put that file beside it.`,
      );
    }
    files.push(part);
  }
  return { file: source.name, decoder, files, header };
}

/** Whatever the architecture, a frozen model is known by its vocabulary and its length. */
export function onnxConfig(document: object, { decoder, file }: OnnxSource): DecoderConfig {
  const own = document as Readonly<Record<string, unknown>>;
  const text = (typeof own.text_config === 'object' && own.text_config) || {};
  const fields: Readonly<Record<string, unknown>> = { ...own, ...text };
  const first = (...names: readonly string[]): number | undefined => {
    const found = names
      .map((name) => fields[name])
      .find((value) => Number.isInteger(value) && Number(value) > 0);
    return found === undefined ? undefined : Number(found);
  };
  const vocabSize = decoder.vocabulary ?? first('vocab_size');
  if (vocabSize === undefined) {
    throw new AlloyError(
      'bad-file',
      `${file}: neither it nor config.json (vocab_size) says how large the vocabulary is; use the model's own config.json.`,
    );
  }
  return {
    family: 'onnx',
    vocabSize,
    width: first('hidden_size', 'n_embd', 'd_model') ?? 0,
    ffn: 0,
    heads: 0,
    kvHeads: 0,
    headDim: 0,
    layers: [],
    norm: { kind: 'rms', eps: 0, offset: 0 },
    tiedHead: false,
    activation: 'silu',
    attentionCap: 0,
    logitCap: 0,
    embeddingScale: 1,
    residualScale: 1,
    headScale: 1,
    bias: { qkv: false, output: false, mlp: false },
    parallelResidual: false,
    maxPositions: first('max_position_embeddings', 'n_positions', 'n_ctx', 'max_seq_len') ?? 2048,
    padding: undefined,
    bos: undefined,
    eos: [],
  };
}

function frozenOnly(file: string): AlloyError {
  return new AlloyError(
    'unsupported',
    `${file}: an ONNX model is a frozen source only: it gives rows and scores, but cannot be a pivot, chat, be merged or exported; use the model's safetensors or a GGUF file for that.`,
  );
}

/** The tensors of a frozen model: none that anybody may have. */
export function onnxTensors({ file }: OnnxSource): TensorSource {
  return {
    file,
    shape: () => {
      throw frozenOnly(file);
    },
    matrix: () => Promise.reject(frozenOnly(file)),
    vector: () => Promise.reject(frozenOnly(file)),
  };
}

/** Two tokens: enough to see that a session runs, and what it gives. */
const PROBE = Int32Array.of(0, 1);

async function runLogits(
  session: OnnxSession,
  { decoder, file }: OnnxSource,
  tokens: Int32Array,
  batch: number,
): Promise<OnnxLogits> {
  const tensor = await session.run(onnxFeeds(session.runtime, decoder, tokens, batch), decoder.output);
  const [rows, length, vocabulary = 0] = tensor.dims;
  if (rows === batch && length === tokens.length / batch) return { tensor, vocabulary };
  tensor.dispose();
  throw new AlloyError(
    'unsupported',
    `${file}: it gives logits of the shape [${tensor.dims.join(', ')}] for ${batch} × ${tokens.length / batch} tokens, not all positions; use an export that gives all.`,
  );
}

/** Operators for which the runtime has attention kernels that share values between the lanes of a subgroup. */
const FUSED_ATTENTION = [
  'Attention',
  'com.microsoft:Attention',
  'com.microsoft:GroupQueryAttention',
  'com.microsoft:MultiHeadAttention',
];

/**
 * Where a model may run: without a GPU device of ours on the CPU alone. On software adapters, whose subgroups have 4 or 8 lanes, onnxruntime-web 1.30's fused attention is
 * wrong from the ninth token on (seen on lavapipe: rows off by up to 1; the same model on its CPU is right to 5e-6).
 */
export function usablePlaces(
  { operators }: OnnxHeader,
  { software, shared }: { readonly software: boolean; readonly shared: boolean },
  places: readonly OnnxPlace[],
): { readonly places: readonly OnnxPlace[]; readonly passed: string | undefined } {
  if (!shared) return { places: places.filter((place) => place === 'wasm'), passed: undefined };
  if (!software || !FUSED_ATTENTION.some((operator) => operators.has(operator)) || !places.includes('wasm'))
    return { places, passed: undefined };
  return {
    places: ['wasm'],
    passed: 'not on the GPU, since its fused attention is not exact on software adapters',
  };
}

/**
 * Opens a session for the model.
 * @param places where it may run, best first
 * @throws AlloyError as `openOnnxSession`, and `bad-file` where the logits are not as wide as the vocabulary
 */
export async function loadOnnx(
  device: Device,
  source: OnnxSource,
  config: DecoderConfig,
  places: readonly OnnxPlace[] = ONNX_PLACES,
): Promise<LoadedModel> {
  const [model, ...external] = await Promise.all(
    source.files.map(async (file, index) => ({
      path: source.header.external[index - 1] ?? '',
      data: await file.read(0, file.bytes),
    })),
  );
  const { places: usable, passed } = usablePlaces(
    source.header,
    { software: isOnProcessor(device.info), shared: sharedDevice(device) !== undefined },
    places,
  );
  const session = await openOnnxSession(
    device,
    { name: source.file, model: model?.data ?? new Uint8Array(0), external },
    {
      places: usable,
      output: source.decoder.output,
      async probe(opened) {
        const { tensor, vocabulary } = await runLogits(opened, source, PROBE, 1);
        tensor.dispose();
        if (vocabulary === config.vocabSize) return;
        throw new AlloyError(
          'bad-file',
          `${source.file}: its logits have ${vocabulary} entries, but config.json says ${config.vocabSize} (vocab_size); take both from the same model.`,
        );
      },
    },
  );
  const rows = {
    file: source.file,
    decoder: source.decoder,
    vocabulary: config.vocabSize,
    logits: (tokens: Int32Array, batch: number) => runLogits(session, source, tokens, batch),
  };
  return {
    config,
    get weights(): never {
      throw frozenOnly(source.file);
    },
    frozen: {
      status: passed === undefined ? session.status : `${session.status}; ${passed}`,
      bytes: source.files.reduce((sum, { bytes }) => sum + bytes, 0),
      scorer: (options) => new OnnxScorer(device, rows, options),
    },
    dispose: () => void session.release(),
  };
}

import { AlloyError } from '../../util/errors.ts';
import type { HubFile, HubListing } from './listing.ts';
import type { HubReference } from './reference.ts';

export type HubFormat = 'safetensors' | 'gguf' | 'onnx';

/** One of the forms in which a repository offers a model. */
export interface HubVariant {
  /** `safetensors`, or the path of a GGUF or ONNX file. */
  readonly key: string;
  readonly format: HubFormat;
  /** What people call it: `Q4_K_M`, `BF16`, `ONNX-Q4`. */
  readonly label: string;
  /** Of all its files, the tokenizer's included. */
  readonly bytes: number;
  /** What it surely takes; the parts that an index names come to it. */
  readonly files: readonly HubFile[];
}

export const SAFETENSORS = 'safetensors';
export const WHOLE_FILE = 'model.safetensors';
export const INDEX_FILE = 'model.safetensors.index.json';
const SHARD = /^model-\d{5}-of-\d{5}\.safetensors$/u;
const COMPANIONS = [
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'chat_template.jinja',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
  'tokenizer.model',
];

/** What is taken of quantised files, best first; up to `SMALL_BYTES` eight bits cost little and lose nothing. */
const PREFERRED = [
  'Q4_K_M',
  'Q4_K_S',
  'Q4_K',
  'Q4_0',
  'Q4_1',
  'Q5_K_M',
  'Q5_K_S',
  'Q5_0',
  'Q6_K',
  'Q8_0',
  'Q3_K_M',
  'F16',
  'BF16',
  'F32',
  'ONNX-Q4',
  'ONNX-QUANTIZED',
  'ONNX',
];
const SMALL_BYTES = 300e6;

/** `onnx/model_q4f16.onnx`, with what comes after the underscore. */
const ONNX =
  /^(?:onnx\/)?(?:decoder_)?model(?:_merged)?(?:_(fp16|quantized|int8|uint8|q4|q4f16|bnb4))?\.onnx$/u;

/** A file name's word for its quantisation. */
const QUANTISATION =
  /(?:^|[-_.])((?:UD-)?(?:I?Q\d+(?:_[A-Z\d]+)*|TQ\d+_\d+|MXFP4|F16|BF16|F32|FP16|FP32|Q8))(?=[-_.]|$)/giu;

/** Every form of a repository that Alloy could read: weights of folders first, then GGUF and then ONNX files by size. */
export function variantsOf({ files, dtypes }: HubListing): readonly HubVariant[] {
  const variants: HubVariant[] = [];
  const folder = folderFiles(files);
  if (folder) {
    const weights = files.filter(
      ({ path }) => SHARD.test(path) && !folder.some((one) => one.path === WHOLE_FILE),
    );
    const label = dtypes && dtypes.length > 0 ? dtypes.join(', ') : 'safetensors';
    variants.push({
      key: SAFETENSORS,
      format: 'safetensors',
      label,
      bytes: total([...folder, ...weights]),
      files: folder,
    });
  }
  const gguf = files.filter(isGgufModel).flatMap((file): HubVariant | [] => {
    const parts = partsOf(files, file);
    if (!parts) return [];
    return {
      key: file.path,
      format: 'gguf',
      label: quantisationOf(file.path),
      bytes: total(parts),
      files: parts,
    };
  });
  const bySize = (a: HubVariant, b: HubVariant) => a.bytes - b.bytes;
  return [...variants, ...gguf.sort(bySize), ...onnxVariants(files).sort(bySize)];
}

/** ONNX files of decoders, with the weights that lie beside them; they can be sources, not pivots. */
function onnxVariants(files: readonly HubFile[]): HubVariant[] {
  if (
    !files.some(({ path }) => path === 'config.json') ||
    !files.some(({ path }) => path === 'tokenizer.json')
  )
    return [];
  return files.flatMap((file): HubVariant | [] => {
    const name = ONNX.exec(file.path);
    if (!name) return [];
    const beside = files.filter(({ path }) => path.startsWith(`${file.path}_data`));
    const all = [...companionsOf(files), file, ...beside];
    const kind = name[1] === undefined ? '' : `-${name[1].toUpperCase()}`;
    return { key: file.path, format: 'onnx', label: `ONNX${kind}`, bytes: total(all), files: all };
  });
}

function companionsOf(files: readonly HubFile[]): readonly HubFile[] {
  return COMPANIONS.flatMap((name) => files.find(({ path }) => path === name) ?? []);
}

/** The files of a folder of weights, without the parts that its index names; undefined where there are no weights. */
function folderFiles(files: readonly HubFile[]): readonly HubFile[] | undefined {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const weights = byPath.get(WHOLE_FILE) ?? byPath.get(INDEX_FILE);
  if (!weights || !byPath.has('config.json')) return undefined;
  return [...companionsOf(files), weights];
}

/** Vision towers and matrices of importance are GGUF files too; of a file in parts the first stands for it. */
function isGgufModel({ path }: HubFile): boolean {
  return /\.gguf$/iu.test(path) && !/(?:^|[-_./])(?:mmproj|imatrix)/iu.test(path) && !isLaterPart(path);
}

const PART = /-(\d{5})-of-(\d{5})(?=\.gguf$)/iu;

function isLaterPart(path: string): boolean {
  const part = PART.exec(path)?.[1];
  return part !== undefined && Number(part) > 1;
}

/** A file with those that belong to it; undefined where one of them is missing. */
function partsOf(files: readonly HubFile[], first: HubFile): readonly HubFile[] | undefined {
  const count = PART.exec(first.path)?.[2];
  if (count === undefined) return [first];
  const parts = Array.from({ length: Number(count) }, (_, index) => {
    const name = first.path.replace(PART, `-${String(index + 1).padStart(5, '0')}-of-${count}`);
    return files.find(({ path }) => path === name);
  });
  return parts.every((part) => part !== undefined) ? parts : undefined;
}

function quantisationOf(path: string): string {
  const name =
    path
      .split('/')
      .at(-1)
      ?.replace(/\.gguf$/iu, '') ?? path;
  const found = [...name.matchAll(QUANTISATION)].at(-1)?.[1];
  return found?.toUpperCase() ?? name;
}

/**
 * The form that a reference means: the one that it names, else safetensors, else a GGUF file of a sensible size.
 * @throws AlloyError `missing-file`, `unsupported`, `bad-argument`
 */
export function chooseVariant(listing: HubListing, { file, variant }: HubReference): HubVariant {
  const variants = variantsOf(listing);
  const known = variants.map(({ key, label }) => (key === SAFETENSORS ? SAFETENSORS : label)).join(', ');
  if (file !== undefined) {
    const found = variants.find(({ key }) => key === file);
    if (found) return found;
    throw noFile(listing, file, variants);
  }
  if (variant !== undefined) {
    const wanted = variant.toLowerCase();
    const named = variants.filter(
      ({ label, key }) => label.toLowerCase() === wanted || key.toLowerCase() === wanted,
    );
    const [found, other] = named;
    if (found && other) {
      throw new AlloyError(
        'bad-argument',
        `${listing.id} has more than one ${variant}: ${named.map(({ key }) => key).join(', ')}; name the file (hub:${listing.id}/FILE).`,
      );
    }
    if (found) return found;
    throw new AlloyError(
      'missing-file',
      `${listing.id} has no variant ${variant}; it has ${known || 'none that Alloy reads'}.`,
    );
  }
  const chosen = defaultVariant(variants);
  if (chosen) return chosen;
  throw nothingToRead(listing);
}

/** What is recommended where nobody chose: what can be trained before what is frozen. */
export function defaultVariant(variants: readonly HubVariant[]): HubVariant | undefined {
  const folder = variants.find(({ format }) => format === 'safetensors');
  if (folder) return folder;
  const named = (label: string) => variants.find((one) => one.label === label);
  const eight = named('Q8_0');
  if (eight && eight.bytes <= SMALL_BYTES) return eight;
  for (const label of PREFERRED) {
    const found = named(label);
    if (found) return found;
  }
  return variants[0];
}

function noFile(listing: HubListing, file: string, variants: readonly HubVariant[]): AlloyError {
  const there = listing.files.some(({ path }) => path === file);
  if (there && isLaterPart(file))
    return new AlloyError(
      'unsupported',
      `${file} of ${listing.id} is a later part of a model; name the first one.`,
    );
  if (there) {
    return new AlloyError(
      'unsupported',
      `${file} of ${listing.id} is no model by itself; name another file.`,
    );
  }
  const single = variants.filter(({ key }) => key !== SAFETENSORS).map(({ key }) => key);
  const has = single.length > 0 ? `it has ${single.join(', ')}` : 'it has no GGUF file';
  return new AlloyError(
    'missing-file',
    `${listing.id} has no file ${file} at ${listing.commit.slice(0, 8)}; ${has}.`,
  );
}

function nothingToRead({ id, files }: HubListing): AlloyError {
  const has = (pattern: RegExp) => files.some(({ path }) => pattern.test(path));
  const why = has(/^adapter_(?:model|config)\./u)
    ? 'it holds an adapter alone; use a model with its weights merged'
    : has(/(?:pytorch_model.*|consolidated.*)\.(?:bin|pth)$/u)
      ? 'its weights are pickled (PyTorch), which cannot be read safely; look for a version in safetensors or GGUF'
      : has(/\.safetensors$/u)
        ? `it has no config.json with ${WHOLE_FILE} or ${INDEX_FILE} at its top`
        : 'it has neither safetensors nor a GGUF file';
  return new AlloyError('unsupported', `${id} has nothing that Alloy reads: ${why}.`);
}

export function total(files: readonly { readonly bytes: number }[]): number {
  return files.reduce((sum, { bytes }) => sum + bytes, 0);
}

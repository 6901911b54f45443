/** What a decoder's ONNX graph asks for, checked when its file is opened and filled in when it runs. */
import type { Tensor } from 'onnxruntime-web/webgpu';
import type { OnnxHeader, OnnxValue } from '../formats/onnx.ts';
import { AlloyError } from '../util/errors.ts';
import type { OnnxRuntime } from './onnxRuntime.ts';

const LOGITS = 'logits';
const TOKENS = 'input_ids';
const INTEGERS = ['int64', 'int32'] as const;
const FLOATS = ['float32', 'float16'] as const;

type Fill = (
  batch: number,
  length: number,
  tokens: Int32Array,
) => { readonly numbers: Int32Array; readonly dims: number[] };

/** Whole numbers, one a token or one in all. */
const FILLED: Readonly<Record<string, Fill>> = {
  [TOKENS]: (batch, length, tokens) => ({ numbers: tokens, dims: [batch, length] }),
  // Sequences are filled up on the right, where no real token looks; so nothing needs to be masked.
  attention_mask: (batch, length) => ({
    numbers: new Int32Array(batch * length).fill(1),
    dims: [batch, length],
  }),
  position_ids: (batch, length) => ({
    numbers: Int32Array.from({ length: batch * length }, (_, at) => at % length),
    dims: [batch, length],
  }),
  num_logits_to_keep: () => ({ numbers: Int32Array.of(0), dims: [] }),
};
const PAST = /^past_key_values[._].*(key|value)s?$/;
const CACHE_BRANCH = 'use_cache_branch';

/** What is known of a decoder's graph. */
export interface OnnxDecoder {
  readonly inputs: readonly OnnxValue[];
  readonly output: string;
  /** Whether logits are half floats. */
  readonly halves: boolean;
  /** The last dimension of the logits, where the file says it. */
  readonly vocabulary: number | undefined;
}

function isOneOf(names: readonly string[], name: string): boolean {
  return names.includes(name);
}

/** Why an input cannot be filled in; undefined where it can. */
function problemOf({ name, type, shape }: OnnxValue): string | undefined {
  if (Object.hasOwn(FILLED, name)) return isOneOf(INTEGERS, type) ? undefined : `is of type ${type}`;
  if (name === CACHE_BRANCH) return type === 'bool' ? undefined : `is of type ${type}`;
  if (!PAST.test(name)) return 'is none that Alloy can fill in';
  if (!isOneOf(FLOATS, type)) return `is of type ${type}`;
  const open = shape.filter((size) => typeof size === 'string');
  return shape.length === 4 && open.length <= 2 ? undefined : `has the shape [${shape.join(', ')}]`;
}

/** @throws AlloyError `unsupported` naming the input or output that no decoder has */
export function readOnnxDecoder({ inputs, outputs }: OnnxHeader, file: string): OnnxDecoder {
  const advice = 'use a decoder exported with token ids in and logits out (text-generation)';
  for (const input of inputs) {
    const problem = problemOf(input);
    if (problem === undefined) continue;
    throw new AlloyError('unsupported', `${file}: its input "${input.name}" ${problem}; ${advice}.`);
  }
  if (!inputs.some(({ name }) => name === TOKENS))
    throw new AlloyError('unsupported', `${file}: it has no input "${TOKENS}"; ${advice}.`);
  const logits = outputs.find(({ name }) => name === LOGITS);
  if (logits === undefined || !isOneOf(FLOATS, logits.type) || logits.shape.length !== 3) {
    const found = outputs.map(({ name }) => name).slice(0, 4);
    throw new AlloyError(
      'unsupported',
      `${file}: it has no output "${LOGITS}" of floats [batch, length, vocabulary] (but ${found.join(', ')}); ${advice}.`,
    );
  }
  const size = logits.shape[2];
  return {
    inputs,
    output: LOGITS,
    halves: logits.type === 'float16',
    vocabulary: typeof size === 'number' && size > 0 ? size : undefined,
  };
}

/** The sizes of an empty cache: the first open dimension is the batch, the other one the past. */
function pastDims(shape: OnnxValue['shape'], batch: number): number[] {
  return shape.map((size, axis) => (typeof size === 'number' ? size : axis === 0 ? batch : 0));
}

/**
 * The inputs of one run.
 * @param tokens i32 [batch, length]
 */
export function onnxFeeds(
  { Tensor: OnnxTensor }: OnnxRuntime,
  { inputs }: OnnxDecoder,
  tokens: Int32Array,
  batch: number,
): Record<string, Tensor> {
  const length = tokens.length / batch;
  const feeds: Record<string, Tensor> = {};
  for (const { name, type, shape } of inputs) {
    const fill = Object.hasOwn(FILLED, name) ? FILLED[name] : undefined;
    if (fill !== undefined) {
      const { numbers, dims } = fill(batch, length, tokens);
      feeds[name] =
        type === 'int64'
          ? new OnnxTensor('int64', BigInt64Array.from(numbers, BigInt), dims)
          : new OnnxTensor('int32', numbers, dims);
    } else if (name === CACHE_BRANCH) feeds[name] = new OnnxTensor('bool', Uint8Array.of(0), [1]);
    else if (type === 'float16') {
      feeds[name] = new OnnxTensor('float16', new Uint16Array(0), pastDims(shape, batch));
    } else feeds[name] = new OnnxTensor('float32', new Float32Array(0), pastDims(shape, batch));
  }
  return feeds;
}

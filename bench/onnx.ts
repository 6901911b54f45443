/*
 * Writes ONNX models. The files are Protocol Buffers; of that format only varints, fixed 32-bit numbers and
 * length-delimited fields are needed, and the numbers below are the field numbers of onnx.proto3.
 */
export type Bytes = Uint8Array<ArrayBuffer>;

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 128) {
    bytes.push((rest % 128) + 128);
    rest = Math.floor(rest / 128);
  }
  return [...bytes, rest];
}

function concat(parts: readonly Bytes[]): Bytes {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function integer(field: number, value: number): Bytes {
  return Uint8Array.from([...varint(field * 8), ...varint(value)]);
}

function float(field: number, value: number): Bytes {
  return concat([Uint8Array.from(varint(field * 8 + 5)), new Uint8Array(Float32Array.of(value).buffer)]);
}

function block(field: number, content: Bytes | readonly Bytes[]): Bytes {
  const bytes = content instanceof Uint8Array ? content : concat(content);
  return concat([Uint8Array.from([...varint(field * 8 + 2), ...varint(bytes.length)]), bytes]);
}

function text(field: number, value: string): Bytes {
  return block(field, new TextEncoder().encode(value));
}

/** Element types of ONNX. */
const TYPES = { f32: 1, u8: 2, i32: 6, i64: 7 } as const;
export type OnnxType = keyof typeof TYPES;

/** An initializer of the graph. */
export function tensor(
  name: string,
  type: OnnxType,
  dims: readonly number[],
  data: ArrayBufferView<ArrayBuffer>,
): Bytes {
  const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return concat([
    ...dims.map((dim) => integer(1, dim)),
    integer(2, TYPES[type]),
    text(8, name),
    block(9, raw),
  ]);
}

/** An input or output; a dimension given by name is left open. */
export function value(name: string, type: OnnxType, dims: readonly (number | string)[]): Bytes {
  const shape = dims.map((dim) => block(1, typeof dim === 'number' ? integer(1, dim) : text(2, dim)));
  return concat([text(1, name), block(2, block(1, [integer(1, TYPES[type]), block(2, shape)]))]);
}

export interface OnnxNode {
  readonly type: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** `com.microsoft` for onnxruntime's own operations. */
  readonly domain?: 'com.microsoft';
  readonly integers?: Readonly<Record<string, number>>;
  readonly floats?: Readonly<Record<string, number>>;
}

export function node({ type, inputs, outputs, domain, integers = {}, floats = {} }: OnnxNode): Bytes {
  const [FLOAT, INT] = [1, 2];
  return concat([
    ...inputs.map((input) => text(1, input)),
    ...outputs.map((output) => text(2, output)),
    text(4, type),
    ...Object.entries(integers).map(([name, number]) =>
      block(5, [text(1, name), integer(3, number), integer(20, INT)]),
    ),
    ...Object.entries(floats).map(([name, number]) =>
      block(5, [text(1, name), float(2, number), integer(20, FLOAT)]),
    ),
    ...(domain ? [text(7, domain)] : []),
  ]);
}

export interface OnnxGraph {
  readonly nodes: readonly Bytes[];
  readonly weights: readonly Bytes[];
  readonly inputs: readonly Bytes[];
  readonly outputs: readonly Bytes[];
}

/** A whole file. */
export function model({ nodes, weights, inputs, outputs }: OnnxGraph): Bytes {
  const graph = [
    ...nodes.map((one) => block(1, one)),
    text(2, 'bench'),
    ...weights.map((one) => block(5, one)),
    ...inputs.map((one) => block(11, one)),
    ...outputs.map((one) => block(12, one)),
  ];
  const opset = (domain: string, version: number) => block(8, [text(1, domain), integer(2, version)]);
  return concat([integer(1, 10), block(7, graph), opset('', 21), opset('com.microsoft', 1)]);
}

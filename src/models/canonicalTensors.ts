import { packMatrix } from '../kernels/quantize.ts';
import { type PackedMatrix, unpack, type WeightFormat } from '../kernels/weightFormat.ts';
import type { DecoderConfig } from './config.ts';
import { familyOf } from './families/families.ts';
import type { TensorSource } from './tensorSource.ts';

/**
 * A source as the engine reads it, under full names and with every matrix `[out, in]`: files of a bare model leave out the
 * prefix of the names, and GPT-2's keep its matrices `[in, out]`. Sources that need neither are given back as they are.
 */
export function canonicalTensors(config: DecoderConfig, source: TensorSource): TensorSource {
  const { names } = familyOf(config);
  const bare = names.embedding.slice(names.prefix.length);
  const isBare =
    names.embedding.startsWith(names.prefix) && !source.shape(names.embedding) && source.shape(bare);
  const full = isBare ? prefixed(source, names.prefix) : source;
  const aliases = Object.entries(names.aliases ?? {}).filter(([usual]) => !full.shape(usual));
  const named = aliases.length > 0 ? renamed(full, new Map(aliases)) : full;
  return named.turned ? named : turned(config, named);
}

function prefixed(source: TensorSource, prefix: string): TensorSource {
  return mapped(
    source,
    (name) => (name.startsWith(prefix) ? name.slice(prefix.length) : name),
    (name) => prefix + name,
  );
}

function renamed(source: TensorSource, aliases: ReadonlyMap<string, string>): TensorSource {
  const usual = new Map([...aliases].map(([name, alias]) => [alias, name]));
  return mapped(
    source,
    (name) => aliases.get(name) ?? name,
    (name) => usual.get(name) ?? name,
  );
}

function mapped(
  source: TensorSource,
  inFile: (name: string) => string,
  outside: (name: string) => string,
): TensorSource {
  const { names, dtype, format } = source;
  return {
    ...source,
    shape: (name) => source.shape(inFile(name)),
    ...(names && { names: () => [...names()].map(outside) }),
    ...(dtype && { dtype: (name: string) => dtype(inFile(name)) }),
    ...(format && { format: (name: string) => format(inFile(name)) }),
    matrix: (name, rows) => source.matrix(inFile(name), rows),
    vector: (name) => source.vector(inFile(name)),
  };
}

function turned(config: DecoderConfig, source: TensorSource): TensorSource {
  const { names, matrices } = familyOf(config);
  const paths = matrices(config).filter(({ conv1d }) => conv1d);
  if (paths.length === 0) return source;
  const inLayer = new RegExp(`^${names.layers.replaceAll('.', '\\.')}\\.\\d+\\.(.*)\\.weight$`);
  const isTurned = (name: string) => {
    const path = inLayer.exec(name)?.[1];
    return paths.some((spec) => spec.path === path);
  };
  return {
    ...source,
    turned: true,
    ...(source.format && { format: (name: string) => turnedFormat(source, name, isTurned(name)) }),
    shape: (name) => (isTurned(name) ? source.shape(name)?.toReversed() : source.shape(name)),
    matrix: async (name, rows) =>
      isTurned(name) ? transposedMatrix(await source.matrix(name)) : source.matrix(name, rows),
  };
}

function turnedFormat({ format, shape }: TensorSource, name: string, isTurned: boolean): WeightFormat {
  const inFile = format?.(name) ?? { kind: 'f32' };
  if (!isTurned) return inFile;
  return { kind: inFile.kind === 'f16' && (shape(name)?.[0] ?? 1) % 2 === 0 ? 'f16' : 'f32' };
}

/** Exact: halves stay halves where a row of them fills whole words, all else becomes f32. */
export function transposedMatrix(matrix: PackedMatrix): PackedMatrix {
  const { rows, cols, format } = matrix;
  const values = unpack(matrix);
  const data = new Float32Array(values.length);
  for (let row = 0; row < rows; row++)
    for (let col = 0; col < cols; col++) data[col * rows + row] = values[row * cols + col] ?? 0;
  if (format.kind === 'f16' && rows % 2 === 0) return packMatrix(data, cols, rows, { kind: 'f16' });
  return { format: { kind: 'f32' }, rows: cols, cols: rows, data };
}

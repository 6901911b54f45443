import { expect, test } from 'vitest';
import { testDevice } from '../device/testing.ts';
import { packMatrix } from '../kernels/quantize.ts';
import { type PackedMatrix, unpack } from '../kernels/weightFormat.ts';
import type { RowRange } from '../util/rowRange.ts';
import { parseConfig } from './config.ts';
import { DecoderPlaces } from './decoderPlaces.ts';
import { PieceReader, withWideScales } from './pieceReader.ts';
import type { TensorSource } from './tensorSource.ts';

const config = parseConfig(
  {
    model_type: 'llama',
    vocab_size: 8,
    hidden_size: 8,
    intermediate_size: 8,
    num_hidden_layers: 1,
    num_attention_heads: 1,
  },
  'test',
);
const [ROWS, COLS] = [9000, 1024];
/** Deterministic, and known without the rest of the matrix. */
const value = (row: number, col: number) => Math.fround(((row * 31 + col * 7) % 97) / 97 - 0.5);
const rowsOf = ({ start, count }: RowRange) =>
  Float32Array.from({ length: count * COLS }, (_, i) => value(start + Math.floor(i / COLS), i % COLS));

function source(make: (range: RowRange) => PackedMatrix): TensorSource & { asked: (RowRange | undefined)[] } {
  const asked: (RowRange | undefined)[] = [];
  return {
    file: 'random',
    asked,
    shape: () => [ROWS, COLS],
    vector: async () => new Float32Array(COLS),
    async matrix(_, range) {
      asked.push(range);
      return make(range ?? { start: 0, count: ROWS });
    },
  };
}

async function read(file: TensorSource) {
  const device = await testDevice();
  const spec = { name: 'table', shape: [ROWS, COLS] };
  const places = new DecoderPlaces(device, config, [spec], {});
  const place = places.matrix.bind(places);
  const written: { format: PackedMatrix['format']; weight?: unknown }[] = [];
  places.matrix = (one, format) => {
    written.push({ format });
    return place(one, format);
  };
  await new PieceReader(device, file, 'file').matrix(places, spec);
  return { device, places, written };
}

test('a large matrix passes through host memory in pieces and arrives whole', async () => {
  const file = source((range) => ({
    format: { kind: 'f32' },
    rows: range.count,
    cols: COLS,
    data: rowsOf(range),
  }));
  const { device, places } = await read(file);
  expect(file.asked.map((range) => range?.count)).toEqual([4096, 4096, 808]);
  const [before, parts] = [device.stats.bytes, places.bytes];
  expect(parts).toBe(4 * ROWS * COLS);
  places.dispose();
  expect(device.stats.bytes).toBe(before - parts);
});

test('scales that are halves in the first piece and not in a later one are all kept wide', async () => {
  const format = { kind: 'affine', bits: 8, group: 32, scales: 'f16' } as const;
  const file = source((range) => {
    const packed = packMatrix(rowsOf(range), range.count, COLS, format);
    return range.start === 4096 ? withWideScales(packed) : packed;
  });
  const { places, written } = await read(file);
  expect(written.map(({ format: one }) => one.kind === 'affine' && one.scales)).toEqual(['f16', 'f32']);
  expect(file.asked.map((range) => range?.start)).toEqual([0, 4096, 0, 4096, 8192]);
  expect(places.holds('table', { ...format, scales: 'f32' })).toBe(true);
  places.dispose();
});

test('wide scales mean the same numbers', () => {
  const values = rowsOf({ start: 3, count: 5 });
  const packed = packMatrix(values, 5, COLS, { kind: 'affine', bits: 4, group: 32, scales: 'f16' });
  const wide = withWideScales(packed);
  expect(wide.format).toMatchObject({ scales: 'f32' });
  expect(unpack(wide)).toEqual(unpack(packed));
  expect(withWideScales(wide)).toBe(wide);
});

test('a source that cannot read a part gives all at once', async () => {
  const whole = { start: 0, count: ROWS };
  const file = source(() => ({ format: { kind: 'f32' }, rows: ROWS, cols: COLS, data: rowsOf(whole) }));
  const { places } = await read(file);
  expect(file.asked).toHaveLength(1);
  places.dispose();
});

/**
 * Tiles chosen by adapter: a short list of candidates for products that fill a GPU and for those that do not, timed once
 * on the adapter at hand and kept. Sums go along the reduction in the same steps whatever the tile, but slices of it are
 * added in another order, so the choice may change the last bits of a result: it is made once and kept, and where it
 * cannot be kept the defaults stay. Software adapters are not tuned: their kernels have one good size.
 */

import { type Device, isOnProcessor } from '../device/device.ts';
import type { DeviceBuffer } from '../device/deviceBuffer.ts';
import type { Dispatch } from '../device/kernel.ts';
import { matmulNN, matmulNT, matmulTN, type TunedDispatch } from './matmul.ts';
import type { Product } from './matmulOperand.ts';
import { TILE_GRADIENT, TILE_NT, TILE_SLICED } from './matmulStrategy.ts';
import type { TiledPlan } from './matmulTiled.ts';
import { dataBytes, scaleBytes, type WeightFormat } from './weightFormat.ts';

/** Raise it when kernels change so that another tile may win. */
const VERSION = 1;
/** A candidate must beat the default by this much: less is noise. */
const CLEARLY = 0.95;

const CANDIDATES: Readonly<Record<'full' | 'few', readonly TiledPlan[]>> = {
  full: [
    TILE_NT,
    TILE_GRADIENT,
    { ...TILE_GRADIENT, tileRows: 128 },
    { ...TILE_GRADIENT, tileRows: 128, tileCols: 128, threadCols: 8 },
  ],
  few: [
    TILE_SLICED,
    { ...TILE_SLICED, depth: 32, slices: 2 },
    { ...TILE_SLICED, depth: 32, slices: 1 },
    TILE_NT,
  ],
};

/** What a choice holds for, e.g. `nt.packed.full`. */
export type TileKey = `${Product}.${'plain' | 'packed'}.${'full' | 'few'}`;

const FORMATS: Readonly<Record<'plain' | 'packed', WeightFormat>> = {
  plain: { kind: 'f32' },
  packed: { kind: 'affine', bits: 4, group: 32, scales: 'f16' },
};
/** M = N = K of the products that are timed. */
const SIZES = { full: 1024, few: 384 } as const;

const KEYS: readonly TileKey[] = (['nt', 'nn', 'tn'] as const).flatMap((product) =>
  (['full', 'few'] as const).flatMap((size): TileKey[] =>
    // The gradient of weights has no packed operand.
    product === 'tn' ? [`tn.plain.${size}`] : [`${product}.plain.${size}`, `${product}.packed.${size}`],
  ),
);

/** Places of the chosen candidates. */
export type TileTable = Readonly<Partial<Record<TileKey, number>>>;

/** Where choices are kept between runs: a small text. */
export interface TileStore {
  read(): Promise<string | undefined>;
  write(text: string): Promise<void>;
}

const tables = new WeakMap<Device, TileTable>();

/** The choices for this device; empty until `openTiles`. */
export function tilesOf(device: Device): TileTable {
  return tables.get(device) ?? {};
}

/**
 * Makes the products recorded on this device use the tiles that suit its adapter: those kept in `store`, else the fastest,
 * found in about a second and kept. Does nothing on software adapters and where nothing can be kept.
 */
export async function openTiles(
  device: Device,
  store: TileStore,
  time: (device: Device, candidates: readonly Dispatch<DeviceBuffer>[]) => Promise<number[]> = timeCandidates,
): Promise<void> {
  if (isOnProcessor(device.info)) return;
  const { vendor, architecture, model, description } = device.info;
  const name = [vendor, architecture, model, description].join(' ');
  const kept = parseKept(await store.read().catch(() => undefined));
  const known = kept[name];
  if (known) {
    tables.set(device, known);
    return;
  }
  const table: Partial<Record<TileKey, number>> = {};
  for (const key of KEYS) table[key] = await fastest(device, key, time);
  const text = JSON.stringify({ version: VERSION, adapters: { ...kept, [name]: table } });
  const written = await store.write(text).then(
    () => true,
    () => false,
  );
  if (written) tables.set(device, table);
}

/** Tables by adapter; none of another version, and no place that there is no candidate for. */
function parseKept(text: string | undefined): Record<string, TileTable> {
  try {
    const { version, adapters } = JSON.parse(text ?? '{}') as { version?: unknown; adapters?: unknown };
    if (version !== VERSION || typeof adapters !== 'object' || adapters === null) return {};
    const tables = Object.entries(adapters as Record<string, unknown>).filter(([, table]) => isTable(table));
    return Object.fromEntries(tables) as Record<string, TileTable>;
  } catch {
    return {};
  }
}

function isTable(table: unknown): table is TileTable {
  if (typeof table !== 'object' || table === null) return false;
  return KEYS.every((key) => {
    const place = (table as Record<string, unknown>)[key];
    return typeof place === 'number' && candidatesOf(key)[place] !== undefined;
  });
}

function candidatesOf(key: TileKey): readonly TiledPlan[] {
  return CANDIDATES[key.endsWith('full') ? 'full' : 'few'];
}

/** The default where nothing is clearly faster. */
async function fastest(
  device: Device,
  key: TileKey,
  time: (device: Device, candidates: readonly Dispatch<DeviceBuffer>[]) => Promise<number[]>,
): Promise<number> {
  const [product, kind, size] = key.split('.') as [Product, 'plain' | 'packed', 'full' | 'few'];
  const n = SIZES[size];
  const format = FORMATS[kind];
  const owned: DeviceBuffer[] = [];
  const own = (bytes: number) => {
    owned.push(device.createBuffer(Math.max(bytes, 4), 'tile timing'));
    return owned.at(-1) as DeviceBuffer;
  };
  const [x, y] = [own(4 * n * n), own(4 * n * n)];
  const data = own(dataBytes(format, n, n));
  const scales = format.kind === 'affine' ? own(scaleBytes(format, n, n)) : undefined;
  const weight = { format, data, scales };
  const make = (strategy: TiledPlan) => {
    const shape = { m: n, n, k: n, strategy };
    if (product === 'nt') return matmulNT({ x, weight, y }, shape, 'gpu');
    if (product === 'nn') return matmulNN({ dy: x, weight, dx: y }, shape, 'gpu');
    return matmulTN({ dy: x, x: data, dw: y }, shape, 'gpu');
  };
  const fallback = candidatesOf(key).indexOf(defaultTile(product, size));
  try {
    const times = await time(device, candidatesOf(key).map(make));
    const best = times.indexOf(Math.min(...times));
    const clear = (times[best] ?? Number.NaN) < CLEARLY * (times[fallback] ?? 0);
    return clear ? best : fallback;
  } finally {
    for (const buffer of owned) device.destroyBuffer(buffer);
  }
}

function defaultTile(product: Product, size: 'full' | 'few'): TiledPlan {
  if (size === 'few') return TILE_SLICED;
  return product === 'nt' ? TILE_NT : TILE_GRADIENT;
}

const ROUNDS = 4;
const REPEATS = 4;
/** What one choice may take: slow adapters get fewer rounds. */
const BUDGET_MS = 150;

/** The best of a few rounds in turns, each candidate several times in a row, in ms. */
async function timeCandidates(
  device: Device,
  candidates: readonly Dispatch<DeviceBuffer>[],
): Promise<number[]> {
  await device.compile(candidates.map(({ kernel }) => kernel));
  const programs = candidates.map((one) => device.record(new Array(REPEATS).fill(one), 'tile timing'));
  const best = programs.map(() => Number.POSITIVE_INFINITY);
  try {
    const begun = performance.now();
    for (let round = 0; round < ROUNDS && (round < 2 || performance.now() - begun < BUDGET_MS); round++) {
      for (const [index, program] of programs.entries()) {
        await device.idle();
        const started = performance.now();
        program.submit();
        await device.idle();
        // The first round finds the clocks of the GPU low.
        if (round > 0) best[index] = Math.min(best[index] ?? 0, performance.now() - started);
      }
    }
  } finally {
    for (const program of programs) program.dispose();
  }
  return best;
}

/** The same dispatches, their products with the tiles chosen for the adapter. */
export function retile<B>(dispatches: readonly Dispatch<B>[], table: TileTable): readonly Dispatch<B>[] {
  if (Object.keys(table).length === 0) return dispatches;
  return dispatches.map((one) => {
    const { tuned } = one as Partial<TunedDispatch<B>>;
    const key = tuned && keyOf(tuned);
    const place = key && table[key];
    const tile = key && place !== undefined ? candidatesOf(key)[place] : undefined;
    return tuned && tile ? tuned.remake(tile) : one;
  });
}

function keyOf({ product, weightBits, tile }: TunedDispatch<unknown>['tuned']): TileKey | undefined {
  const kind = weightBits < 32 ? 'packed' : 'plain';
  if (tile === TILE_NT || tile === TILE_GRADIENT) return `${product}.${kind}.full`;
  return tile === TILE_SLICED ? `${product}.${kind}.few` : undefined;
}

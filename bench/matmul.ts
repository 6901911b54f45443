/**
 * Speed of the matrix products on this machine's WebGPU adapter.
 *
 *   npx tsx bench/matmul.ts                      products of square matrices and decoding, in every format
 *   npx tsx bench/matmul.ts --sizes 512,2048     other sizes
 *   npx tsx bench/matmul.ts --compare            candidate tiles side by side, for choosing them
 *
 * Rounds of all candidates take turns and the best round counts, so a busy machine disturbs them alike. On software
 * adapters processor time is given too, since it depends less on what else runs.
 */
import { parseArgs } from 'node:util';
import { isOnProcessor, type Tuning } from '../src/device/device.ts';
import type { DeviceBuffer } from '../src/device/deviceBuffer.ts';
import type { Dispatch } from '../src/device/kernel.ts';
import { openDawn } from '../src/device/webgpu/dawn.ts';
import { WebGpuDevice } from '../src/device/webgpu/webGpuDevice.ts';
import { type MatrixOperand, matmulNN, matmulNT, matmulTN } from '../src/kernels/matmul.ts';
import type { Strategy } from '../src/kernels/matmulStrategy.ts';
import { dataBytes, formatName, scaleBytes, type WeightFormat } from '../src/kernels/weightFormat.ts';

const FORMATS: readonly WeightFormat[] = [
  { kind: 'f32' },
  { kind: 'f16' },
  { kind: 'affine', bits: 8, group: 32, scales: 'f16' },
  { kind: 'affine', bits: 4, group: 32, scales: 'f16' },
];
const PRODUCTS = ['nt', 'nn', 'tn'] as const;
type Shape = readonly [m: number, n: number, k: number];

interface Candidate {
  readonly label: string;
  readonly dispatch: Dispatch<DeviceBuffer>;
  readonly flop: number;
  readonly weightBytes: number;
  bestMs: number;
  bestCpuMs: number;
}

const { values: options } = parseArgs({
  options: {
    sizes: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    compare: { type: 'boolean', default: false },
    tuning: { type: 'string' },
  },
});
const device = await WebGpuDevice.open(await openDawn());
const tuning = (options.tuning ?? device.info.tuning) as Tuning;
const sizes = (options.sizes ?? (isOnProcessor(device.info) ? '256,512,1024' : '1024,2048,4096'))
  .split(',')
  .map(Number);

/** Random words are finite weights in every format but f32 and f16, where the exponent is kept small. */
function fill(words: number, mask: number, bias: number): Uint32Array<ArrayBuffer> {
  let state = 1;
  return Uint32Array.from({ length: words }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return ((state & mask) | bias) >>> 0;
  });
}

/** Buffers of the candidates at hand, shared among them, by what they hold. */
const shared = new Map<string, DeviceBuffer>();

function buffer(label: string, words: number, mask: number, bias: number): DeviceBuffer {
  const known = shared.get(`${label} ${words}`);
  const made = known ?? device.createFrom(fill(words, mask, bias), label);
  shared.set(`${label} ${words}`, made);
  return made;
}

function activations(label: string, count: number): DeviceBuffer {
  return buffer(label, count, 0x807fffff, 0x3f000000);
}

function weights(format: WeightFormat, n: number, k: number): MatrixOperand<DeviceBuffer> {
  const [mask, bias] = { f32: [0x807fffff, 0x3d000000], f16: [0x83ff83ff, 0x28002800], affine: [-1, 0] }[
    format.kind
  ] as [number, number];
  const data = buffer(formatName(format), dataBytes(format, n, k) / 4, mask, bias);
  if (format.kind !== 'affine') return { format, data };
  const scales = buffer(`${formatName(format)} scales`, scaleBytes(format, n, k) / 4, 0x83ff83ff, 0x20002000);
  return { format, data, scales };
}

function product(
  op: (typeof PRODUCTS)[number],
  format: WeightFormat,
  [m, n, k]: Shape,
  strategy?: Strategy,
): Candidate {
  const shape = { m, n, k, strategy };
  const x = activations('x', m * k);
  const dy = activations('dy', m * n);
  const dispatch = {
    nt: () => matmulNT({ x, weight: weights(format, n, k), y: dy }, shape, tuning),
    nn: () => matmulNN({ dy, weight: weights(format, n, k), dx: x }, shape, tuning),
    tn: () => matmulTN({ dy, x, dw: activations('dw', n * k) }, shape, tuning),
  }[op]();
  const label = `${op} ${formatName(format).padEnd(9)} ${m}x${n}x${k}`.padEnd(32) + dispatch.kernel.name;
  const weightBytes = dataBytes(format, n, k) + scaleBytes(format, n, k);
  return { label, dispatch, flop: 2 * m * n * k, weightBytes, bestMs: Infinity, bestCpuMs: Infinity };
}

async function measure(candidates: readonly Candidate[]): Promise<void> {
  const repeats = (flop: number) =>
    isOnProcessor(device.info) ? 1 : Math.max(2, Math.min(400, Math.round(1e12 / (flop + 1e9))));
  const programs = candidates.map(({ dispatch, flop }) =>
    device.record(new Array<Dispatch<DeviceBuffer>>(repeats(flop)).fill(dispatch), 'bench'),
  );
  for (let round = 0; round <= Number(options.rounds); round++) {
    for (const [index, candidate] of candidates.entries()) {
      await device.idle();
      const cpu = process.cpuUsage();
      const start = performance.now();
      programs[index]?.submit();
      await device.idle();
      const times = repeats(candidate.flop);
      const { user, system } = process.cpuUsage(cpu);
      if (round === 0) continue;
      candidate.bestMs = Math.min(candidate.bestMs, (performance.now() - start) / times);
      candidate.bestCpuMs = Math.min(candidate.bestCpuMs, (user + system) / 1000 / times);
    }
  }
  for (const program of programs) program.dispose();
  for (const one of shared.values()) device.destroyBuffer(one);
  shared.clear();
}

function report(candidates: readonly Candidate[]): void {
  for (const { label, flop, weightBytes, bestMs, bestCpuMs } of candidates) {
    const perCpu = isOnProcessor(device.info)
      ? `${(flop / bestCpuMs / 1e6).toFixed(1).padStart(8)} per CPU second`
      : '';
    const rates = `${(flop / bestMs / 1e6).toFixed(1).padStart(9)} GFLOP/s ${(weightBytes / bestMs / 1e6).toFixed(1).padStart(7)} GB/s`;
    console.log(`${bestMs.toFixed(3).padStart(9)} ms ${rates}${perCpu}  ${label}`);
  }
}

async function run(candidates: readonly Candidate[]): Promise<void> {
  await measure(candidates);
  report(candidates);
}

function tile(spec: string): Strategy {
  const [tileRows, tileCols, depth, threadRows, threadCols, slices] = spec.split('x').map(Number);
  return { kind: 'tiled', tileRows, tileCols, depth, threadRows, threadCols, slices } as Strategy;
}

function vector(spec: string): Strategy {
  const [threadRows, threadCols, lanes, teams] = spec.split('x').map(Number);
  return { kind: 'vector', threadRows, threadCols, lanes, teams } as Strategy;
}

const SQUARE_TILES = [
  '64x64x32x4x4x1',
  '64x64x16x4x4x1',
  '64x64x16x8x4x1',
  '128x64x16x8x4x1',
  '128x64x32x8x4x1',
  '128x128x16x8x8x1',
  '64x64x16x8x8x1',
  '128x128x8x8x8x1',
  '32x32x32x4x4x2',
  '32x32x16x4x4x4',
  '32x32x32x4x4x1',
];
const VECTORS = [
  '1x1x32x4',
  '1x2x32x4',
  '1x4x32x4',
  '1x4x16x8',
  '1x2x64x2',
  '1x4x64x4',
  '1x8x32x4',
  '1x4x32x8',
  '1x4x128x1',
];

if (options.compare) {
  const [q4, f32] = [FORMATS[3], FORMATS[0]] as [WeightFormat, WeightFormat];
  for (const size of sizes) {
    for (const [op, format] of [
      ['nt', f32],
      ['nn', f32],
      ['tn', f32],
      ['nt', q4],
      ['nn', q4],
    ] as const) {
      const shape = [size, size, size] as const;
      await run(SQUARE_TILES.map((spec) => product(op, format, shape, tile(spec))));
    }
  }
  /** LoRA of rank 16 on a width of 896, and a short prompt. */
  const skinny = [
    ['nt', [4096, 16, 896]],
    ['nt', [4096, 896, 16]],
    ['tn', [4096, 16, 896]],
    ['tn', [4096, 896, 16]],
    ['nn', [4096, 16, 896]],
    ['nn', [4096, 896, 16]],
    ['nt', [32, 896, 896]],
  ] as const;
  for (const [op, shape] of skinny) {
    await run(
      [
        '64x64x32x4x4x1',
        '64x64x16x4x4x1',
        '32x32x32x4x4x1',
        '32x32x32x4x4x2',
        '32x32x16x4x4x4',
        '64x64x32x8x8x1',
      ].map((spec) => product(op, f32, shape, tile(spec))),
    );
  }
  for (const shape of [
    [1, 896, 896],
    [1, 4864, 896],
    [1, 8192, 8192],
    [1, 65536, 2048],
  ] as const) {
    for (const format of [q4, f32])
      await run(VECTORS.map((spec) => product('nt', format, shape, vector(spec))));
  }
} else {
  for (const size of sizes) {
    await run(
      PRODUCTS.flatMap((op) =>
        (op === 'tn' ? FORMATS.slice(0, 1) : FORMATS).map((format) =>
          product(op, format, [size, size, size]),
        ),
      ),
    );
  }
  for (const [n, k] of [
    [896, 896],
    [4864, 896],
    [4096, 4096],
  ] as const) {
    await run(FORMATS.map((format) => product('nt', format, [1, n, k])));
  }
}
process.exit(0);

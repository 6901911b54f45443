import { describe, expect, test } from 'vitest';
import { PaperDevice } from '../device/paperDevice.ts';
import { cacheWrite } from '../kernels/attentionCached.ts';
import { gatedForward } from '../kernels/gated.ts';
import { matmulNT } from '../kernels/matmul.ts';
import { rmsNormForward } from '../kernels/rmsNorm.ts';
import { rope } from '../kernels/rope.ts';
import { fuseRows } from './fuseRows.ts';
import { Graph, tensorIn } from './graph.ts';
import type { Tensor } from './tensor.ts';

const device = new PaperDevice();
const [D, F] = [64, 96];
const home = (name: string, words: number) => tensorIn(device.createBuffer(4 * words, name), name, [words]);

/** The dispatches of a layer's products, as decoders lay them down for one row. */
function layer(rows = 1, change: (graph: Graph, at: string, value: Tensor) => void = () => undefined) {
  const graph = new Graph('gpu');
  const value = (name: string, width = D) => graph.tensor(name, [rows, width]);
  const product = (name: string, x: Tensor, n: number, k: number, residual?: Tensor) => {
    const y = value(name, n);
    const weight = { format: { kind: 'f32' as const }, data: home(`${name}.w`, n * k) };
    graph.emit(matmulNT({ x, weight, y, residual }, { m: rows, n, k }, 'gpu'));
    change(graph, name, y);
    return y;
  };
  const norm = (name: string, x: Tensor) => {
    const y = value(name);
    const buffers = { x, w: home('norm.w', D), y, rstd: graph.tensor('rstd', [rows]) };
    graph.emit(rmsNormForward(buffers, { rows, width: D, eps: 1e-5, offset: 0 }, 'gpu'));
    change(graph, name, y);
    return y;
  };
  const hidden = value('hidden');
  const normed = norm('norm', hidden);
  const [q, k, v] = [product('q', normed, D, D), product('k', normed, 32, D), product('v', normed, 32, D)];
  const [table, state] = [home('table', 16 * 40), home('state', 4)];
  const turn = { rows, tokens: rows, headWidth: 16, rot: 16 };
  graph.emit(rope({ x: q, table, state }, { ...turn, heads: 4 }));
  graph.emit(rope({ x: k, table, state }, { ...turn, heads: 2 }));
  const caches = { kCache: home('keys', 40 * 32), vCache: home('values', 40 * 32) };
  graph.emit(cacheWrite({ k, v, state, ...caches }, { tokens: rows, width: 32, capacity: 40 }));
  const after = product('o', q, D, D, hidden);
  const second = norm('norm2', after);
  const [gate, up] = [product('gate', second, F, D), product('up', second, F, D)];
  const h = value('h', F);
  graph.emit(gatedForward({ g: gate, u: up, h }, rows * F, 'silu'));
  product('down', h, D, F, after);
  return graph.dispatches;
}

const kinds = (dispatches: ReturnType<typeof layer>) =>
  dispatches.map(({ kernel }) => kernel.name.split('.')[0]);
const gpuOptions = { tuning: 'gpu', storageBuffers: 16 } as const;

describe('one row', () => {
  test('thirteen dispatches of a layer become five on a GPU', () => {
    expect(layer()).toHaveLength(13);
    expect(kinds(fuseRows(layer(), gpuOptions))).toEqual(['rows', 'rope', 'rows', 'rows', 'rows']);
  });

  test('norms stay on software adapters', () => {
    const fused = fuseRows(layer(), { tuning: 'software', storageBuffers: 16 });
    expect(kinds(fused)).toEqual(['rmsNorm', 'rows', 'rope', 'rows', 'rmsNorm', 'rows', 'rows']);
  });

  test('no kernel binds more than the device allows', () => {
    for (const storageBuffers of [8, 7, 6, 5]) {
      const fused = fuseRows(layer(), { tuning: 'gpu', storageBuffers });
      const most = fused
        .filter(({ kernel }) => kernel.name.startsWith('rows'))
        .map(({ kernel }) => kernel.buffers.length);
      expect(Math.max(...most)).toBeLessThanOrEqual(storageBuffers);
    }
  });
});

test('a norm that something else reads stays', () => {
  const read = layer(1, (graph, at, value) => {
    if (at === 'v')
      graph.emit(gatedForward({ g: value, u: value, h: graph.tensor('x', [1, 32]) }, 32, 'silu'));
  });
  expect(kinds(fuseRows(read, gpuOptions))).toContain('gated');
  const normRead = layer(1, (graph, at, value) => {
    if (at === 'norm')
      graph.emit(gatedForward({ g: value, u: value, h: graph.tensor('x', [1, D]) }, D, 'silu'));
  });
  expect(kinds(fuseRows(normRead, gpuOptions)).filter((kind) => kind === 'rmsNorm')).toHaveLength(1);
});

test('a gate that something else reads stays', () => {
  const read = layer(1, (graph, at, value) => {
    if (at === 'up')
      graph.emit(gatedForward({ g: value, u: value, h: graph.tensor('x', [1, F]) }, F, 'silu'));
  });
  expect(kinds(fuseRows(read, gpuOptions)).filter((kind) => kind === 'gated')).toHaveLength(2);
});

test('what is written between two products is not moved over', () => {
  const between = layer(1, (graph, at, value) => {
    if (at !== 'q') return;
    const weight = { format: { kind: 'f32' as const }, data: home('w', D * D) };
    graph.emit(
      matmulNT(
        { x: graph.tensor('u', [1, D]), weight, y: value },
        { m: 1, n: D, k: D, accumulate: true },
        'gpu',
      ),
    );
  });
  // An adapter's second product adds to q; k and v still join q, and it follows them.
  expect(kinds(fuseRows(between, gpuOptions)).slice(0, 2)).toEqual(['rows', 'matmul']);
});

test('many rows stay as they are', () => {
  expect(kinds(fuseRows(layer(3), gpuOptions)).filter((kind) => kind === 'rows')).toEqual([]);
});

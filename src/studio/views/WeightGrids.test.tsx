// @vitest-environment happy-dom
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { identityOf } from '../state/identity.ts';
import { fakeMerge, fakeRecipe } from '../testing/fakeData.ts';
import { byRole, click, mount, press } from '../testing/mount.tsx';
import { WeightGrids } from './WeightGrids.tsx';

const view = fakeMerge('sce', fakeRecipe.sources);
const on = {
  onHover: vi.fn(),
  onFocusCell: vi.fn(),
  onSelect: vi.fn(),
  onClear: vi.fn(),
  onNudge: vi.fn(),
  onEdit: vi.fn(),
};
let page: Awaited<ReturnType<typeof mount>>;

const grids = (anchor?: number) => (
  <WeightGrids
    view={view}
    weights={view.cells.map((cell) => cell.weight)}
    scale={{ low: 0, high: 1 }}
    selection={new Set()}
    anchor={anchor}
    overridden={new Set([0])}
    identify={(name) => identityOf(name, fakeRecipe)}
    {...on}
  />
);

beforeEach(async () => {
  vi.clearAllMocks();
  page = await mount(grids());
});
afterEach(() => page.unmount());

const cell = (index: number) => document.querySelector<HTMLElement>(`[data-cell="${index}"]`)!;
const where = (index: number) => {
  const { source, layer, matrix } = view.cells[index]!;
  return [source, layer, matrix];
};
const lastSelected = () => on.onSelect.mock.calls.at(-1) as [number[], string, number?];

test('one grid a source, every weight readable, and hand-set cells named', () => {
  expect(document.querySelectorAll('[role="grid"]')).toHaveLength(3);
  expect(document.querySelectorAll('[role="gridcell"]')).toHaveLength(view.cells.length);
  expect(cell(0).getAttribute('aria-label')).toMatch(/layer 0, q: 0\.\d+, set by hand/);
  expect(document.querySelectorAll('[role="gridcell"][tabindex="0"]')).toHaveLength(1);
});

test('arrow keys walk over the cells and on into the next grid', async () => {
  await click(cell(0));
  expect(lastSelected()).toEqual([[0], 'replace', 0]);
  await press(cell(0), 'ArrowDown');
  expect(where(lastSelected()[0][0]!)).toEqual([0, 1, 'q']);
  await press(document.activeElement as HTMLElement, 'End');
  expect(where(lastSelected()[0][0]!)).toEqual([0, 1, 'down']);
  await press(document.activeElement as HTMLElement, 'ArrowRight');
  expect(where(lastSelected()[0][0]!)).toEqual([1, 1, 'q']);
  await press(document.activeElement as HTMLElement, 'ArrowUp');
  await press(document.activeElement as HTMLElement, 'ArrowUp');
  expect(where(lastSelected()[0][0]!)).toEqual([1, 0, 'q']);
});

test('plus and minus nudge, with shift by a tenth; Escape clears; Enter edits', async () => {
  await press(cell(0), '+');
  await press(cell(0), '-');
  await press(cell(0), '+', { shiftKey: true });
  expect(on.onNudge.mock.calls.flat()).toEqual([0.01, -0.01, 0.1]);
  await press(cell(0), 'Escape');
  await press(cell(0), 'Enter');
  expect(on.onClear).toHaveBeenCalledOnce();
  expect(on.onEdit).toHaveBeenCalledOnce();
});

test('shift selects a box from the anchor; headers select rows and columns', async () => {
  await page.show(grids(0));
  await press(cell(0), 'ArrowDown', { shiftKey: true });
  expect(lastSelected()[0].map(where)).toEqual([
    [0, 0, 'q'],
    [0, 1, 'q'],
  ]);
  await click(byRole('button', 'Select layer 2'));
  expect(lastSelected()[0]).toHaveLength(view.matrices.length);
  await click(byRole('button', 'Select up in every layer'));
  expect(lastSelected()[0]).toHaveLength(view.layers);
});

/**
 * The import rules of the house, as data and as a check over parsed modules. `src/architecture.test.ts` applies them to
 * the code as it is and shows that each of them catches what it is there for.
 */
import { posix } from 'node:path';
import { parseSync } from 'vite';

export interface ImportedModule {
  readonly specifier: string;
  /** Erased by the compiler: `import type`, `import { type A }`, `export type … from`, `import('…')` in a type. */
  readonly typeOnly: boolean;
  /** `export … from`. */
  readonly reexport: boolean;
}

export interface SourceModule {
  /** Inside `src`, e.g. `device/device.ts`. */
  readonly path: string;
  readonly imports: readonly ImportedModule[];
  /** Identifiers of the WebGPU API that the module names. */
  readonly gpuNames: readonly string[];
  readonly lines: number;
  /** Whether the module does nothing but pass on what other modules export. */
  readonly barrel: boolean;
}

interface FolderRule {
  readonly values: readonly string[];
  /** Folders of which only types may be imported. */
  readonly types?: readonly string[];
  /** Single modules that may be imported though their folder may not. */
  readonly modules?: RegExp;
}

const BELOW_MODELS = ['util', 'device', 'kernels', 'graph', 'formats', 'storage'];
const BELOW_PIPELINE = [...BELOW_MODELS, 'models', 'align', 'distill', 'merge', 'decode', 'evaluate'];

/** Which folder of `src` may import which others; a folder may always import itself. */
export const RULES: Readonly<Record<string, FolderRule>> = {
  util: { values: [] },
  device: { values: ['util'] },
  kernels: { values: ['util', 'device'] },
  graph: { values: ['util', 'device', 'kernels'] },
  formats: { values: ['util'] },
  storage: { values: ['util'] },
  models: { values: BELOW_MODELS },
  align: { values: ['util'], types: ['models'] },
  distill: { values: [...BELOW_MODELS, 'models', 'align'] },
  merge: { values: [...BELOW_MODELS, 'models'] },
  decode: { values: [...BELOW_MODELS, 'models', 'align'] },
  evaluate: { values: [...BELOW_MODELS, 'models', 'decode'] },
  pipeline: { values: BELOW_PIPELINE },
  studio: { values: ['pipeline', 'util'], types: BELOW_PIPELINE },
  // The command line is where the pipeline gets its devices and a place for its files.
  cli: {
    values: ['pipeline', 'util'],
    types: BELOW_PIPELINE,
    modules: /^(device\/(webgpu\/dawn|wasm\/nodeWasmHost)|storage\/(node\w*|memoryStorage))\.ts$/,
  },
};

/** What any test may use to get a device and to read recorded files. */
const FOR_TESTS = /^(device\/testing|storage\/node\w*)\.ts$/;

/** Packages that belong to some folders alone. */
const PACKAGES: readonly { readonly name: RegExp; readonly only: RegExp }[] = [
  { name: /^(react|react-dom|zustand|uplot|@mantine\/\w+)(\/|$)/, only: /^studio\// },
  { name: /^comlink(\/|$)/, only: /^(studio|pipeline)\// },
  { name: /^webgpu$/, only: /^device\/webgpu\/dawn\.ts$/ },
  { name: /^onnxruntime-web(\/|$)/, only: /^(models\/onnx\w*|pipeline\/worker)\.ts$/ },
  { name: /^node:/, only: /^(cli\/|(storage|device\/wasm)\/node\w*\.ts$)/ },
];

const isTest = (path: string) => /\.test\.tsx?$/.test(path);
const folderOf = (path: string) => path.split('/')[0] ?? '';
const isRelative = (specifier: string) => specifier.startsWith('.');

/** The path inside `src` that a relative import leads to; it may start with `..`. */
function target(path: string, specifier: string): string {
  return posix.normalize(posix.join(posix.dirname(path), specifier.replace(/\?.*$/, '')));
}

type Node = Readonly<Record<string, unknown>>;

function walk(node: unknown, visit: (node: Node) => void): void {
  if (Array.isArray(node)) {
    for (const child of node) walk(child, visit);
  } else if (node !== null && typeof node === 'object') {
    visit(node as Node);
    for (const child of Object.values(node)) walk(child, visit);
  }
}

function importOf(node: Node): ImportedModule | undefined {
  const source = node.source as Node | null | undefined;
  const specifier = source?.value;
  if (typeof specifier !== 'string') return undefined;
  const specifiers = (node.specifiers as readonly Node[] | undefined) ?? [];
  const kind = node.type === 'ImportDeclaration' ? 'importKind' : 'exportKind';
  switch (node.type) {
    case 'ImportDeclaration':
    case 'ExportNamedDeclaration':
    case 'ExportAllDeclaration': {
      const everyOne = specifiers.length > 0 && specifiers.every((one) => one[kind] === 'type');
      const reexport = node.type !== 'ImportDeclaration';
      return { specifier, typeOnly: node[kind] === 'type' || everyOne, reexport };
    }
    case 'ImportExpression':
      return { specifier, typeOnly: false, reexport: false };
    case 'TSImportType':
      return { specifier, typeOnly: true, reexport: false };
    default:
      return undefined;
  }
}

/** Reads what the rules are about; throws when the text does not parse. */
export function parseModule(path: string, text: string): SourceModule {
  const { program, errors } = parseSync(path, text);
  if (errors.length > 0) throw new Error(`${path} does not parse: ${errors[0]?.message}`);
  const imports: ImportedModule[] = [];
  const gpuNames = new Set<string>();
  walk(program, (node) => {
    const imported = importOf(node);
    if (imported) imports.push(imported);
    if (node.type === 'Identifier' && /^GPU[A-Z]/.test(String(node.name))) gpuNames.add(String(node.name));
  });
  const body = program.body as unknown as readonly Node[];
  return {
    path,
    imports,
    gpuNames: [...gpuNames],
    lines: text.trimEnd().split('\n').length,
    barrel:
      body.some(reexports) && body.every((node) => reexports(node) || node.type === 'ImportDeclaration'),
  };
}

function reexports(node: Node): boolean {
  if (node.type === 'ExportAllDeclaration') return true;
  // `import { a } from …; export { a }` passes on as much as `export { a } from …` does.
  return node.type === 'ExportNamedDeclaration' && !node.declaration;
}

function importProblem(path: string, { specifier, typeOnly }: ImportedModule): string | undefined {
  if (!isRelative(specifier)) {
    const rule = PACKAGES.find(({ name }) => name.test(specifier));
    if (!rule || rule.only.test(path) || (isTest(path) && specifier.startsWith('node:'))) return undefined;
    return `${path} imports ${specifier}, which belongs to ${rule.only.source}`;
  }
  const to = target(path, specifier);
  if (!/\.(tsx?|css|json|svg|wgsl|mjs)$/.test(to))
    return `${path} imports "${specifier}" without its extension`;
  if (to.startsWith('..')) {
    return isTest(path) ? undefined : `${path} imports ${specifier}, which is outside src`;
  }
  const [from, into] = [folderOf(path), folderOf(to)];
  if (from === into || (isTest(path) && FOR_TESTS.test(to))) return undefined;
  const rule = RULES[from];
  if (!rule) return `src/${from} has no import rule; add it to the table`;
  if (rule.values.includes(into) || rule.modules?.test(to)) return undefined;
  if (rule.types?.includes(into)) {
    return typeOnly ? undefined : `${path} imports values of ${to}; ${from} may import only types of ${into}`;
  }
  return `${path} imports ${to}; ${from} may not import ${into}`;
}

const MAX_LINES = 400;
const MAX_TEST_LINES = 600;

/** What one module does against the rules, a sentence each. */
export function moduleProblems(module: SourceModule): string[] {
  const { path, imports, gpuNames, lines, barrel } = module;
  const problems = imports.flatMap((imported) => importProblem(path, imported) ?? []);
  if (!path.includes('/') && !isTest(path)) problems.push(`${path} lies in no folder of the table`);
  if (gpuNames.length > 0 && folderOf(path) !== 'device') {
    problems.push(`${path} names ${gpuNames.join(', ')}; only device may name the WebGPU API`);
  }
  if (barrel) problems.push(`${path} only passes on exports of others; import them where they are`);
  if (path.endsWith('.tsx') && folderOf(path) !== 'studio')
    problems.push(`${path} is a component outside studio`);
  const limit = isTest(path) ? MAX_TEST_LINES : MAX_LINES;
  if (lines > limit)
    problems.push(`${path} has ${lines} lines; the limit is ${limit}: does it do two things?`);
  const sideways = /^studio\/stages\/([^/]+)\//.exec(path)?.[1];
  for (const { specifier } of sideways && !isTest(path)
    ? imports.filter((one) => isRelative(one.specifier))
    : []) {
    const other = /^studio\/stages\/([^/]+)\//.exec(target(path, specifier))?.[1];
    if (other && other !== sideways) problems.push(`${path} imports ${specifier} of another stage`);
  }
  return problems;
}

/** One cycle of a directed graph as a path whose last entry is its first, or undefined. */
export function findCycle(edges: ReadonlyMap<string, ReadonlySet<string>>): readonly string[] | undefined {
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (node: string): readonly string[] | undefined => {
    if (done.has(node)) return undefined;
    const at = path.indexOf(node);
    if (at >= 0) return [...path.slice(at), node];
    path.push(node);
    for (const next of edges.get(node) ?? []) {
      const cycle = visit(next);
      if (cycle) return cycle;
    }
    path.pop();
    done.add(node);
    return undefined;
  };
  for (const node of edges.keys()) {
    const cycle = visit(node);
    if (cycle) return cycle;
  }
  return undefined;
}

function edgesBetween(
  modules: readonly SourceModule[],
  name: (path: string) => string,
  counts: (imported: ImportedModule) => boolean,
): Map<string, Set<string>> {
  const edges = new Map<string, Set<string>>();
  for (const { path, imports } of modules) {
    const from = name(path);
    const to = edges.get(from) ?? new Set();
    edges.set(from, to);
    for (const imported of imports) {
      if (!isRelative(imported.specifier) || !counts(imported)) continue;
      const into = name(target(path, imported.specifier));
      if (into !== from) to.add(into);
    }
  }
  return edges;
}

/** A cycle between folders, type imports included; tests do not count. */
export function folderCycle(modules: readonly SourceModule[]): readonly string[] | undefined {
  const sources = modules.filter(({ path }) => !isTest(path));
  return findCycle(edgesBetween(sources, folderOf, () => true));
}

/** A cycle between modules at run time. */
export function moduleCycle(modules: readonly SourceModule[]): readonly string[] | undefined {
  return findCycle(
    edgesBetween(
      modules,
      (path) => path,
      (imported) => !imported.typeOnly,
    ),
  );
}

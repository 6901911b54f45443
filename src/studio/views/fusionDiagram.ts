/** Where the nodes and lines of the fusion picture go; the component only paints them. */
export interface DiagramNode {
  readonly name: string;
  readonly x: number;
  readonly y: number;
}

export interface DiagramLine {
  /** The model whose colour the line has. */
  readonly name: string;
  readonly path: string;
}

export interface DiagramCaption {
  readonly text: string;
  readonly x: number;
  readonly y: number;
}

export interface DiagramLayout {
  readonly width: number;
  readonly height: number;
  readonly nodes: readonly DiagramNode[];
  readonly lines: readonly DiagramLine[];
  readonly captions: readonly DiagramCaption[];
}

const columns = { source: 22, pivot: 98, target: 196, fused: 304 };
const captionHeight = 17;

/** Sources teach targets, the pivot is what every target starts from, and the targets meet in the fused model. */
export function layoutDiagram(sources: readonly string[], rowHeight = 34): DiagramLayout {
  const height = captionHeight + rowHeight * Math.max(2, sources.length + 1);
  const rowY = (row: number) => captionHeight + rowHeight * (row + 0.5);
  const pivotY = rowY(Math.max(1, sources.length));
  const fusedY = captionHeight + rowHeight * (Math.max(1, sources.length) / 2);
  const curve = (x1: number, y1: number, x2: number, y2: number) => {
    const middle = (x1 + x2) / 2;
    return `M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}`;
  };
  const nodes: DiagramNode[] = [];
  const lines: DiagramLine[] = [];
  sources.forEach((source, row) => {
    const y = rowY(row);
    nodes.push({ name: source, x: columns.source, y }, { name: `target:${source}`, x: columns.target, y });
    lines.push(
      { name: 'pivot', path: curve(columns.pivot + 12, pivotY, columns.target - 12, y) },
      { name: source, path: curve(columns.source + 12, y, columns.target - 12, y) },
      { name: source, path: curve(columns.target + 12, y, columns.fused - 12, fusedY) },
    );
  });
  nodes.push({ name: 'pivot', x: columns.pivot, y: pivotY }, { name: 'fused', x: columns.fused, y: fusedY });
  const captions: DiagramCaption[] = [
    { text: 'sources', x: columns.source, y: 8 },
    { text: 'targets', x: columns.target, y: 8 },
    { text: 'fused', x: columns.fused, y: fusedY - 21 },
    { text: 'pivot', x: columns.pivot - 34, y: pivotY },
  ];
  return { width: columns.fused + 22, height, nodes, lines, captions };
}

import type { Identity } from '../state/identity.ts';
import classes from './FusionDiagram.module.css';
import { layoutDiagram } from './fusionDiagram.ts';

const radius = 12;

/** Pivot, sources, targets and the fused model, in their letters and colours. */
export function FusionDiagram({
  sources,
  identify,
}: {
  readonly sources: readonly string[];
  readonly identify: (name: string) => Identity;
}) {
  const { width, height, nodes, lines, captions } = layoutDiagram(sources);
  const label = `${sources.length} sources each teach a copy of the pivot; the copies are merged into the fused model.`;
  return (
    <svg className={classes.diagram} viewBox={`0 0 ${width} ${height}`} role="img" aria-label={label}>
      {lines.map(({ name, path }) => (
        <path
          key={`${name} ${path}`}
          d={path}
          className={name === 'pivot' ? classes.pivotLine : classes.line}
          stroke={`var(--tone-${identify(name).tone})`}
        />
      ))}
      {nodes.map(({ name, x, y }) => {
        const { letter, tone, hollow } = identify(name);
        const colour = `var(--tone-${tone})`;
        return (
          <g key={name} transform={`translate(${x} ${y})`}>
            <rect
              x={-radius}
              y={-radius}
              width={2 * radius}
              height={2 * radius}
              rx={5}
              fill={hollow ? 'var(--surface)' : colour}
              stroke={colour}
              strokeWidth={1.6}
            />
            <text className={classes.letter} fill={hollow ? colour : 'var(--tone-ink)'}>
              {letter}
            </text>
          </g>
        );
      })}
      {captions.map(({ text, x, y }) => (
        <text key={text} className={classes.caption} x={x} y={y}>
          {text}
        </text>
      ))}
    </svg>
  );
}

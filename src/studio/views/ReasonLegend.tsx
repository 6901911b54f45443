import classes from './ReasonLegend.module.css';
import { ribbonWords } from './reasons.ts';
import type { RibbonKind } from './tokenLanes.ts';

const order: readonly RibbonKind[] = ['exact', 'uneven', 'inside-source-token', 'low-mass'];

/** The ribbons' colours by name. It also holds the hatch that the ribbons refer to. */
export function ReasonLegend() {
  return (
    <div className={classes.wrap}>
      <svg width="0" height="0" className={classes.defs} aria-hidden="true">
        <defs>
          <pattern
            id="reason-hatch"
            width="5"
            height="5"
            patternUnits="userSpaceOnUse"
            patternTransform="rotate(45)"
          >
            <line x1="0" y1="0" x2="0" y2="5" stroke="var(--bad)" strokeWidth="1.1" strokeOpacity="0.55" />
          </pattern>
        </defs>
      </svg>
      <ul className={classes.legend} aria-label="Ribbons">
        {order.map((kind) => (
          <li key={kind}>
            <span className={classes.swatch} data-kind={kind} aria-hidden="true" />
            {ribbonWords[kind]}
          </li>
        ))}
      </ul>
    </div>
  );
}

import classes from './ScaleLegend.module.css';
import { type WeightScale, weightColour } from './weightScale.ts';

const stops = 24;

/** The colour scale with its ends, and zero where it lies between them. */
export function ScaleLegend({ scale, label }: { readonly scale: WeightScale; readonly label: string }) {
  const { low, high } = scale;
  const colours = Array.from(
    { length: stops + 1 },
    (_, at) => weightColour(low + ((high - low) * at) / stops, scale).background,
  );
  return (
    <span className={classes.legend}>
      <span className={classes.label}>{label}</span>
      <span className="num">{low === 0 ? '0' : low.toString().replace('-', '−')}</span>
      <span
        className={classes.ramp}
        style={{ background: `linear-gradient(90deg, ${colours.join(', ')})` }}
      />
      <span className="num">{high}</span>
    </span>
  );
}

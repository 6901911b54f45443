import { SegmentedControl } from '@mantine/core';
import type { ModelCard } from '../../../pipeline/protocol.ts';
import { formatBytes } from '../../../util/bytes.ts';
import type { Identity } from '../../state/identity.ts';
import { formatCount } from '../../views/format.ts';
import { ModelBadge } from '../../views/ModelBadge.tsx';
import { ScoreBars } from '../../views/ScoreBars.tsx';
import classes from './ModelsStage.module.css';

type Part = 'pivot' | 'source' | 'off';

/** One model: what it is, what it answers, and its part in the fusion. */
export function ModelPanel({
  model,
  identity,
  domains,
  part,
  onAssign,
  onInspect,
}: {
  readonly model: ModelCard;
  readonly identity: Identity;
  /** Every domain of the project, so that the cards compare row by row. */
  readonly domains: readonly string[];
  readonly part: Part;
  readonly onAssign: (part: Part) => void;
  readonly onInspect: () => void;
}) {
  const known = new Set(model.knows);
  const scores = domains.flatMap((name) => {
    const share = model.scores[name];
    return share === undefined ? [] : [{ name, share }];
  });
  const inScores = model.knows.filter((domain) => model.scores[domain] !== undefined);
  const besides = model.knows.filter((domain) => model.scores[domain] === undefined);
  return (
    <article className={classes.card} data-part={part} aria-label={model.title}>
      <div className={classes.head}>
        <button type="button" className={classes.title} onClick={onInspect}>
          <ModelBadge identity={{ ...identity, label: model.title }} named size={20} />
        </button>
        <SegmentedControl
          aria-label={`Part of ${model.title}`}
          value={part}
          onChange={(value) => onAssign(value as Part)}
          data={[
            // What onnxruntime runs is frozen: it can teach, not learn.
            { value: 'pivot', label: 'Pivot', disabled: model.family === 'onnx' },
            { value: 'source', label: 'Source', disabled: part === 'pivot' },
            { value: 'off', label: 'Off', disabled: part === 'pivot' },
          ]}
        />
      </div>
      <dl className={`${classes.facts} num`}>
        {model.parameters > 0 ? <Fact name="Parameters" value={formatCount(model.parameters)} /> : null}
        <Fact name="Family" value={model.family} />
        <Fact
          name="Tokenizer"
          value={`${model.tokenizer ? `${model.tokenizer}, ` : ''}${formatCount(model.vocab)} tokens`}
        />
        <Fact name="Context" value={formatCount(model.context)} />
        <Fact name="Size" value={formatBytes(model.bytes)} />
        <Fact name="Licence" value={model.licence} />
      </dl>
      {model.knows.length > 0 ? (
        <p className={classes.knows}>
          Knows <strong>{[...inScores, ...besides].join(', ')}</strong>
        </p>
      ) : null}
      {model.from === undefined ? null : <p className={classes.knows}>From the hub: {model.from}</p>}
      {scores.length > 0 ? <ScoreBars scores={scores} strong={known} tone={identity.tone} /> : null}
    </article>
  );
}

function Fact({ name, value }: { readonly name: string; readonly value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

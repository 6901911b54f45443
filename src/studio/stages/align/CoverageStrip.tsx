import { SegmentedControl } from '@mantine/core';
import { useState } from 'react';
import type { AlignmentSummary, AlignmentView, MatchReason } from '../../../pipeline/protocol.ts';
import { useIdentity } from '../../app/useIdentity.ts';
import { useAlign } from '../../state/align.ts';
import type { Identity } from '../../state/identity.ts';
import { useProject } from '../../state/project.ts';
import { useRun } from '../../state/run.ts';
import { formatShare } from '../../views/format.ts';
import { ModelBadge } from '../../views/ModelBadge.tsx';
import { Panel } from '../../views/Panel.tsx';
import { reasonOrder, reasonWords } from '../../views/reasons.ts';
import { StackedBar } from '../../views/StackedBar.tsx';
import classes from './AlignStage.module.css';
import { coverageOf } from './coverage.ts';

const reasonFills: Readonly<Record<MatchReason, string>> = {
  paired: 'var(--ink-3)',
  'inside-source-token': 'repeating-linear-gradient(135deg, var(--bad) 0 1.5px, var(--bad-fill) 1.5px 4px)',
  'low-mass': 'var(--warn)',
  'not-scored': 'var(--line-strong)',
  'past-end': 'var(--line)',
};

const mappingFills = ['var(--seq-4)', 'var(--seq-3)', 'var(--seq-2)', 'var(--seq-1)'];

/** The rules of the vocabulary map, in words; the last two are mass that reaches no token of the pivot. */
const mappingWords: Readonly<Record<string, string>> = {
  'same-vocabulary': 'Same vocabulary',
  role: 'Same role (control)',
  exact: 'Same text',
  count: 'Most often aligned',
  'first-piece': 'First piece of it',
  'longest-prefix': 'Longest beginning of it',
  'one-edit': 'One edit away',
  unmapped: 'No token for it',
  outside: 'Not among the kept',
};
const lostFills: Readonly<Record<string, string>> = {
  unmapped: 'repeating-linear-gradient(135deg, var(--bad) 0 1.5px, var(--bad-fill) 1.5px 4px)',
  outside: 'var(--line-strong)',
};

/** How much of the source reaches the pivot: in this conversation, or after a run in all of them. */
export function CoverageStrip({ source }: { readonly source: string }) {
  const { view, tokensOnly } = useAlign();
  const summary = useRun((state) => state.summaries[source]);
  const identify = useIdentity();
  const [scope, setScope] = useState<'one' | 'all'>('all');
  const whole = summary && scope === 'all' ? summary : undefined;
  if (!view && !whole) return null;
  return (
    <Panel
      title="Coverage"
      note={whole ? `${whole.conversations} conversations` : 'this conversation'}
      tools={
        summary ? (
          <SegmentedControl
            aria-label="Coverage of"
            value={scope}
            onChange={(value) => setScope(value === 'one' ? 'one' : 'all')}
            data={[
              { value: 'one', label: 'This conversation' },
              { value: 'all', label: 'All' },
            ]}
          />
        ) : null
      }
    >
      {whole ? (
        <Whole summary={whole} pivot={identify('pivot')} source={identify(source)} />
      ) : view ? (
        <One view={view} tokensOnly={tokensOnly} pivot={identify('pivot')} source={identify(source)} />
      ) : null}
    </Panel>
  );
}

interface Models {
  readonly pivot: Identity;
  readonly source: Identity;
}

function Whole({ summary, pivot, source }: Models & { readonly summary: AlignmentSummary }) {
  const always = useRun((state) => state.recipe?.fuse.choice === 'source');
  const { coverage, reasons, mapping, won, conversations, tokensPerByte } = summary;
  const total = Object.values(reasons).reduce((sum, count) => sum + count, 0);
  const scored = total - reasons['not-scored'];
  return (
    <div className={classes.strip}>
      <Figure caption="Positions with a row" value={formatShare(coverage)}>
        {reasons.paired.toLocaleString('en')} of {scored.toLocaleString('en')} scored tokens
      </Figure>
      <StackedBar label="Why" parts={reasonParts(reasons, scored)} />
      <StackedBar
        label="How the rows’ mass reached the pivot’s tokens"
        parts={Object.entries(mapping).map(([name, share], index) => ({
          name: mappingWords[name] ?? name,
          share,
          fill: lostFills[name] ?? mappingFills[index % mappingFills.length] ?? 'var(--line)',
        }))}
      />
      <div className={classes.pair}>
        <Rates rates={tokensPerByte} pivot={pivot} source={source} />
        <Figure
          caption={always ? 'Taught by the source' : 'Taught by the source (MinCE)'}
          value={`${won} of ${conversations}`}
        >
          {always ? 'as the recipe says' : 'where it was less surprised than the pivot'}
        </Figure>
      </div>
    </div>
  );
}

function One({
  view,
  tokensOnly,
  pivot,
  source,
}: Models & { readonly view: AlignmentView; readonly tokensOnly: boolean }) {
  const { coverage, scored, reasons, tokensPerByte } = coverageOf(view);
  const always = useProject((state) => state.recipe?.fuse.choice === 'source');
  const winner = view.chosen === 'source' ? source : pivot;
  return (
    <div className={classes.strip}>
      <Figure
        caption={tokensOnly ? 'Positions that start together' : 'Positions with a row'}
        value={formatShare(coverage)}
      >
        {reasons.paired} of {scored} scored tokens
      </Figure>
      <StackedBar label="Why" parts={reasonParts(reasons, scored)} />
      <Rates rates={tokensPerByte} pivot={pivot} source={source} />
      {tokensOnly ? null : (
        <div className={classes.figures}>
          <p className={classes.caption}>{always ? 'Taught by' : 'Taught by (MinCE)'}</p>
          <p className={classes.small}>
            <ModelBadge identity={winner} named />
          </p>
          <p className={`${classes.small} num`}>
            source {view.nllPerByte.source.toFixed(3)}, pivot {view.nllPerByte.pivot.toFixed(3)} nats per byte
          </p>
        </div>
      )}
    </div>
  );
}

/** Shares of the scored positions: prompts and what is cut off would drown the rest. */
function reasonParts(reasons: Readonly<Record<MatchReason, number>>, scored: number) {
  return reasonOrder
    .filter((reason) => reason !== 'not-scored')
    .map((reason) => ({
      name: reasonWords[reason].name,
      share: scored > 0 ? reasons[reason] / scored : 0,
      fill: reasonFills[reason],
      title: reasonWords[reason].meaning,
    }));
}

function Figure({
  caption,
  value,
  children,
}: {
  readonly caption: string;
  readonly value: string;
  readonly children: React.ReactNode;
}) {
  return (
    <div className={classes.figures}>
      <p className={classes.caption}>{caption}</p>
      <p className={`${classes.big} num`}>{value}</p>
      <p className={`${classes.small} num`}>{children}</p>
    </div>
  );
}

function Rates({
  rates,
  pivot,
  source,
}: Models & { readonly rates: { readonly pivot: number; readonly source: number } }) {
  const most = Math.max(rates.pivot, rates.source, 1e-9);
  return (
    <div>
      <p className={classes.caption}>Tokens per byte</p>
      {(
        [
          [pivot, rates.pivot],
          [source, rates.source],
        ] as const
      ).map(([identity, rate]) => (
        <div key={identity.letter} className={`${classes.compare} num`}>
          <ModelBadge identity={identity} size={14} />
          <span className={classes.compareTrack} aria-hidden="true">
            <span
              className={classes.compareBar}
              style={{ width: `${(100 * rate) / most}%`, background: `var(--tone-${identity.tone})` }}
            />
          </span>
          {rate.toFixed(3)}
        </div>
      ))}
    </div>
  );
}

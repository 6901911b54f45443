import { useSyncExternalStore } from 'react';
import { type Answer, answerPulse, answerTokens, type Turn } from '../../state/chat.ts';
import { inspect, useLayout } from '../../state/layout.ts';
import { ModelBadge } from '../../views/ModelBadge.tsx';
import { ProbabilityText } from '../../views/ProbabilityText.tsx';
import classes from './ChatStage.module.css';
import { useColumns } from './useColumns.ts';

/** A prompt over its answers. Columns that did not exist when it was asked stay empty. */
export function ChatTurn({ turn, columns }: { readonly turn: Turn; readonly columns: readonly string[] }) {
  const { prompt, accept, answers } = turn;
  const asked = Object.keys(answers);
  const shown = [
    ...columns.filter((column) => asked.includes(column)),
    ...asked.filter((column) => !columns.includes(column)),
  ];
  return (
    <section className={classes.turn} aria-label={prompt}>
      <div className={classes.question}>
        <p>{prompt}</p>
        {accept.length > 0 ? (
          <p className={classes.accept}>
            A held-out question. Right: {accept.slice(0, 12).join(', ')}
            {accept.length > 12 ? ` and ${accept.length - 12} more` : ''}
          </p>
        ) : null}
      </div>
      <div className={classes.answers} style={{ '--columns': shown.length }}>
        {shown.map((column) => {
          const answer = answers[column];
          return answer ? <AnswerView key={column} turn={turn.id} column={column} answer={answer} /> : null;
        })}
      </div>
    </section>
  );
}

const stopWords = { end: 'ended its turn', length: 'reached the limit', interrupted: 'interrupted' } as const;

function AnswerView({
  turn,
  column,
  answer,
}: {
  readonly turn: number;
  readonly column: string;
  readonly answer: Answer;
}) {
  useSyncExternalStore(answerPulse.subscribe, answerPulse.version);
  const { identify } = useColumns();
  const tokens = answerTokens(turn, column);
  const chosen = useLayout(({ focus }) =>
    focus?.kind === 'answer' && focus.turn === turn && focus.column === column ? focus.token : undefined,
  );
  const { state, stop, tokensPerSecond, fault } = answer;
  return (
    <article
      className={classes.answer}
      data-state={state}
      aria-busy={state === 'streaming'}
      aria-label={identify(column).label}
    >
      <span className={classes.answerName}>
        <ModelBadge identity={identify(column)} named size={16} />
      </span>
      {state === 'failed' ? (
        <p className={classes.fault} role="alert">
          {fault?.message}
        </p>
      ) : (
        <ProbabilityText
          tokens={tokens}
          length={tokens.length}
          chosen={chosen}
          onToken={(token) => inspect({ kind: 'answer', column, turn, token })}
        />
      )}
      <p className={`${classes.meta} num`}>
        {state === 'waiting' ? 'waits for its turn' : null}
        {state === 'streaming' ? `${tokens.length} tokens…` : null}
        {state === 'done' && stop
          ? `${answer.tokens ?? tokens.length} tokens, ${(tokensPerSecond ?? 0).toFixed(0)} a second, ${stopWords[stop]}`
          : null}
      </p>
    </article>
  );
}

import { Button, Slider } from '@mantine/core';
import { useId } from 'react';
import type { Sampling } from '../../../pipeline/protocol.ts';
import { answerTokens, defaultSampling, setSampling, useChat } from '../../state/chat.ts';
import { useLayout } from '../../state/layout.ts';
import { FactList } from '../../views/FactList.tsx';
import { formatShare, visibleWhitespace } from '../../views/format.ts';
import { InspectorSection } from '../../views/InspectorSection.tsx';
import { NumberField } from '../../views/NumberField.tsx';
import classes from './ChatInspector.module.css';
import { useColumns } from './useColumns.ts';

/** How answers are drawn, and the token that was clicked. */
export function ChatInspector() {
  const sampling = useChat((state) => state.sampling);
  const changed = sampling !== defaultSampling;
  return (
    <>
      <ChosenToken />
      <InspectorSection title="Sampling">
        <Range
          name="temperature"
          label="Temperature"
          minimum={0}
          maximum={2}
          step={0.05}
          note="0 always takes the likeliest token"
        />
        <Range
          name="topP"
          label="Top p"
          minimum={0.05}
          maximum={1}
          step={0.01}
          note="keeps the likeliest tokens up to this share"
        />
        <Whole
          name="topK"
          label="Top k"
          minimum={0}
          maximum={1000}
          note="keeps this many tokens; 0 keeps all"
        />
        <Whole name="maxNewTokens" label="Longest answer" minimum={1} maximum={2048} note="tokens" />
        <Whole name="seed" label="Seed" minimum={0} maximum={2 ** 31 - 1} note="same seed, same answer" />
        <div>
          <Button
            size="compact-xs"
            variant="default"
            disabled={!changed}
            onClick={() => setSampling(defaultSampling)}
          >
            Reset
          </Button>
        </div>
      </InspectorSection>
      <InspectorSection title="Reading the answers">
        <p>
          The stronger the line under a token, the less sure its model was of it. Click a token for its
          number. Answers are written one after the other, so the speeds can be compared.
        </p>
      </InspectorSection>
    </>
  );
}

function ChosenToken() {
  const focus = useLayout((state) => state.focus);
  const { identify } = useColumns();
  const token = focus?.kind === 'answer' ? answerTokens(focus.turn, focus.column)[focus.token] : undefined;
  if (focus?.kind !== 'answer' || !token) return null;
  return (
    <InspectorSection title="Token">
      <FactList
        facts={[
          ['Model', identify(focus.column).label],
          [
            'Text',
            <span key="text" className="mono">
              {visibleWhitespace(token.text) || '∅'}
            </span>,
          ],
          ['Place', `${focus.token + 1}`],
          ['Probability', formatShare(token.probability)],
          ['Surprise', `${(-Math.log(Math.max(token.probability, 1e-12))).toFixed(3)} nats`],
        ]}
      />
    </InspectorSection>
  );
}

type SamplingName = keyof Sampling;

interface FieldProps {
  readonly name: SamplingName;
  readonly label: string;
  readonly minimum: number;
  readonly maximum: number;
  readonly note: string;
}

function Range({ name, label, minimum, maximum, step, note }: FieldProps & { readonly step: number }) {
  const value = useChat((state) => state.sampling[name]);
  return (
    <div className={classes.field}>
      <span className={classes.label}>
        {label} <span className="num">{value.toFixed(2)}</span>
      </span>
      <Slider
        min={minimum}
        max={maximum}
        step={step}
        value={value}
        thumbLabel={label}
        onChange={(next) => setSampling({ [name]: Math.round(next * 100) / 100 })}
      />
      <span className={classes.note}>{note}</span>
    </div>
  );
}

function Whole({ name, label, minimum, maximum, note }: FieldProps) {
  const value = useChat((state) => state.sampling[name]);
  const id = useId();
  return (
    <div className={classes.field}>
      <label className={classes.label} htmlFor={id}>
        {label}
      </label>
      <NumberField
        id={id}
        value={value}
        minimum={minimum}
        maximum={maximum}
        step={1}
        whole
        onChange={(next) => setSampling({ [name]: next })}
      />
      <span className={classes.note}>{note}</span>
    </div>
  );
}

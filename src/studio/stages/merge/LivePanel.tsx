import { Loader, TextInput } from '@mantine/core';
import { useEffect } from 'react';
import { setPrompt, useMerge } from '../../state/merge.ts';
import { conversationTitle, useProject } from '../../state/project.ts';
import { formatSigned } from '../../views/format.ts';
import { Panel } from '../../views/Panel.tsx';
import { TokenBars } from '../../views/TokenBars.tsx';
import classes from './MergeStage.module.css';

/** The fused model at this moment: how it does on the probe, and what it would say next. */
export function LivePanel() {
  const prompt = useMerge((state) => state.prompt);
  const next = useMerge((state) => state.next);
  const reference = useMerge((state) => state.nextReference);
  const predicting = useMerge((state) => state.predicting);
  const fault = useMerge((state) => state.liveFault);
  const suggestion = useProject((state) => (state.heldout[0] ? conversationTitle(state.heldout[0]) : ''));
  const hasView = useMerge((state) => state.view !== undefined);
  useEffect(() => {
    if (hasView && prompt === '' && suggestion) setPrompt(suggestion);
  }, [hasView, prompt, suggestion]);
  const before = new Map(reference.map((token) => [token.text, token.probability]));
  return (
    <Panel title="Fused model, live" tools={<Probe />}>
      <div className={classes.live}>
        <TextInput
          aria-label="Prompt"
          leftSection={<span className={classes.ask}>Ask</span>}
          leftSectionWidth={42}
          value={prompt}
          onChange={(event) => setPrompt(event.currentTarget.value)}
          rightSection={predicting ? <Loader size={12} /> : null}
        />
        {fault ? (
          <p className={classes.fault} role="alert">
            {fault.message}
          </p>
        ) : (
          <TokenBars
            wide
            tone="fused"
            label="Likeliest next tokens of the fused model"
            bars={next.map(({ text, probability }) => ({
              text,
              probability,
              ...(before.has(text) ? { reference: before.get(text) ?? 0 } : {}),
            }))}
          />
        )}
      </div>
    </Panel>
  );
}

function Probe() {
  const probe = useMerge((state) => state.probe);
  const reference = useMerge((state) => state.probeReference);
  const probing = useMerge((state) => state.probing);
  if (!probe) return probing ? <span className={classes.probe}>Scoring the probe…</span> : null;
  const change = reference ? probe.nllPerByte - reference.nllPerByte : 0;
  const direction = Math.abs(change) < 5e-5 ? 'same' : change < 0 ? 'better' : 'worse';
  return (
    <span
      className={`${classes.probe} num`}
      data-busy={probing || undefined}
      role="status"
      aria-label="Probe"
    >
      <span className="quiet">Probe</span>
      <strong>{probe.nllPerByte.toFixed(4)}</strong>
      <span className="quiet">nats/byte</span>
      <span className={classes.change} data-direction={direction}>
        {formatSigned(change, 4)}
      </span>
      <span className="quiet">{probe.ms.toFixed(0)} ms</span>
    </span>
  );
}

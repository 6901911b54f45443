import { ActionIcon, SegmentedControl, Select, Switch } from '@mantine/core';
import { useEffect, useState } from 'react';
import type { Conversation } from '../../../pipeline/protocol.ts';
import { useIdentity } from '../../app/useIdentity.ts';
import {
  alignConversation,
  alignSettings,
  chooseConversation,
  chooseSource,
  suggestConversation,
  useAlign,
} from '../../state/align.ts';
import { useDevice } from '../../state/device.ts';
import { inspect, setFocus, useLayout } from '../../state/layout.ts';
import { conversationTitle, useProject } from '../../state/project.ts';
import { Icon } from '../../views/Icon.tsx';
import { ModelBadge } from '../../views/ModelBadge.tsx';
import { Panel } from '../../views/Panel.tsx';
import { type PanelCondition, PanelState } from '../../views/PanelState.tsx';
import { ReasonLegend } from '../../views/ReasonLegend.tsx';
import { TokenLanes, type TokenPlace } from '../../views/TokenLanes.tsx';
import classes from './AlignStage.module.css';
import { CoverageStrip } from './CoverageStrip.tsx';
import { OwnText } from './OwnText.tsx';
import { TokenReadout } from './TokenReadout.tsx';

/** One conversation as two tokenizers cut it, and how their rows pair. */
export function AlignStage() {
  const { recipe, train, heldout } = useProject();
  const { source, conversation, suggested, view, loading, fault, tokensOnly } = useAlign();
  const deviceKind = useDevice((state) => state.device.kind);
  const focus = useLayout((state) => state.focus);
  const identify = useIdentity();
  const [hovered, setHovered] = useState<TokenPlace>();
  const [shaded, setShaded] = useState(true);
  const [glyphs, setGlyphs] = useState(true);

  const firstSource = recipe?.sources[0];
  const wanted = source && recipe?.sources.includes(source) ? source : firstSource;
  const text = conversation ?? suggested;
  const settings = recipe && alignSettings(recipe);
  const open = train.length > 0 && text === undefined;
  useEffect(() => {
    if (wanted && open) suggestConversation(wanted);
  }, [wanted, open]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: new settings or an opened device ask for a new alignment
  useEffect(() => {
    if (wanted && text) alignConversation(wanted, text);
  }, [wanted, text, settings, deviceKind]);

  if (!recipe || !wanted) return null;
  const all: readonly Conversation[] = [...train, ...heldout];
  const position = text ? all.indexOf(text) : -1;
  const choose = (next: Conversation | undefined) => {
    if (!next) return;
    setFocus(undefined);
    chooseConversation(next);
  };
  const chosen = focus?.kind === 'token' ? focus : undefined;
  const condition = conditionOf({ fault: fault?.message, loading, ready: view !== undefined }, () =>
    text ? alignConversation(wanted, text, true) : undefined,
  );
  return (
    <div className={classes.stage}>
      <div className={classes.controls}>
        <SegmentedControl
          aria-label="Source"
          value={wanted}
          onChange={(next) => {
            setFocus(undefined);
            chooseSource(next);
          }}
          data={recipe.sources.map((name) => ({
            value: name,
            label: <ModelBadge identity={identify(name)} named size={16} />,
          }))}
        />
        <div className={classes.picker}>
          <ActionIcon
            variant="default"
            aria-label="Conversation before"
            disabled={position <= 0}
            onClick={() => choose(all[position - 1])}
          >
            <Icon name="left" size={14} />
          </ActionIcon>
          <Select
            aria-label="Conversation"
            className={classes.select}
            searchable
            limit={80}
            maxDropdownHeight={360}
            nothingFoundMessage="No conversation has these words"
            data={[
              { group: 'To learn from', items: options(train, 0) },
              { group: 'Held out', items: options(heldout, train.length) },
            ]}
            value={position >= 0 ? `${position}` : null}
            placeholder={text ? conversationTitle(text) : 'Conversation'}
            onChange={(place) => choose(all[Number(place)])}
          />
          <ActionIcon
            variant="default"
            aria-label="Conversation after"
            disabled={position >= all.length - 1}
            onClick={() => choose(all[position + 1])}
          >
            <Icon name="right" size={14} />
          </ActionIcon>
          <OwnText conversation={text} onText={choose} />
        </div>
      </div>

      <Panel
        title="Tokens"
        note={view ? `${view.pivot.length} of the pivot, ${view.source.length} of the source` : undefined}
        tools={
          <>
            <Switch
              label="Shade by surprise"
              checked={shaded && !tokensOnly}
              disabled={tokensOnly}
              onChange={(event) => setShaded(event.currentTarget.checked)}
            />
            <Switch
              label="Show spaces"
              checked={glyphs}
              onChange={(event) => setGlyphs(event.currentTarget.checked)}
            />
          </>
        }
      >
        <PanelState condition={condition}>
          {view ? (
            <div className={classes.lanes} data-busy={loading || undefined}>
              {text ? <p className={classes.question}>{conversationTitle(text)}</p> : null}
              <TokenLanes
                view={view}
                pivot={identify('pivot')}
                source={identify(wanted)}
                chosen={chosen}
                shaded={shaded && !tokensOnly}
                glyphs={glyphs}
                onPlace={setHovered}
                onInspect={(place, raise) =>
                  raise ? inspect({ kind: 'token', ...place }) : setFocus({ kind: 'token', ...place })
                }
              />
              <TokenReadout view={view} place={hovered ?? chosen} tokensOnly={tokensOnly} />
              <ReasonLegend />
            </div>
          ) : null}
        </PanelState>
      </Panel>
      <CoverageStrip source={wanted} />
      {tokensOnly ? (
        <p className={classes.only}>
          Without a device the models cannot run, so there are boundaries here but no rows, losses or
          projections.
        </p>
      ) : null}
    </div>
  );
}

function conditionOf(
  state: { readonly fault: string | undefined; readonly loading: boolean; readonly ready: boolean },
  again: () => void,
): PanelCondition {
  if (state.fault !== undefined) {
    return {
      kind: 'error',
      title: 'This conversation could not be aligned',
      text: state.fault,
      action: { label: 'Try again', run: again },
    };
  }
  if (!state.ready) return { kind: 'loading', title: 'Running both models over the conversation…' };
  return { kind: 'ready' };
}

/** By place, since ids are only unique within a file. */
function options(conversations: readonly Conversation[], first: number) {
  return conversations.map((conversation, index) => ({
    value: `${first + index}`,
    label: `${conversationTitle(conversation).slice(0, 90)}${conversation.domain ? ` · ${conversation.domain}` : ''}`,
  }));
}

import { ActionIcon, Button, Select, Switch, Textarea } from '@mantine/core';
import { type FormEvent, useEffect, useRef, useState } from 'react';
import {
  answerPulse,
  ask,
  clearChat,
  interruptChat,
  setChatSource,
  setShowSft,
  useChat,
} from '../../state/chat.ts';
import { selectReady, useDevice } from '../../state/device.ts';
import { showStage } from '../../state/layout.ts';
import { useMerge } from '../../state/merge.ts';
import { useProject } from '../../state/project.ts';
import { startRun, useRun } from '../../state/run.ts';
import { Icon } from '../../views/Icon.tsx';
import { ModelBadge } from '../../views/ModelBadge.tsx';
import { PanelState } from '../../views/PanelState.tsx';
import classes from './ChatStage.module.css';
import { ChatTurn } from './ChatTurn.tsx';
import { Suggestions } from './Suggestions.tsx';
import { useColumns } from './useColumns.ts';

/** One prompt, several models, side by side. */
export function ChatStage() {
  const unsupported = useDevice((state) => state.device.kind === 'unsupported');
  if (unsupported) {
    return (
      <PanelState
        condition={{
          kind: 'unsupported',
          title: 'Nothing here can run the models',
          text: 'They need a GPU or a processor with WebAssembly, and neither can be used here.',
        }}
      />
    );
  }
  return <Conversation />;
}

const followPixels = 140;

function Conversation() {
  const turns = useChat((state) => state.turns);
  const { columns } = useColumns();
  const scroll = useRef<HTMLDivElement>(null);
  const count = turns.length;
  useEffect(() => {
    const box = scroll.current;
    if (!box || count === 0) return;
    box.scrollTop = box.scrollHeight;
    // A stream is followed while its end is in sight, and left alone when a person has scrolled up to read.
    return answerPulse.subscribe(() => {
      const below = box.scrollHeight - box.scrollTop - box.clientHeight;
      if (below < followPixels) box.scrollTop = box.scrollHeight;
    });
  }, [count]);
  return (
    <div className={classes.stage}>
      <div className={classes.scroll} ref={scroll}>
        <ColumnHeads />
        {turns.map((turn) => (
          <ChatTurn key={turn.id} turn={turn} columns={columns} />
        ))}
        {count === 0 ? <Suggestions columns={columns} /> : null}
      </div>
      <Prompt columns={columns} />
    </div>
  );
}

function ColumnHeads() {
  const { columns, sources, identify, hasFused } = useColumns();
  const active = useRun((state) => state.status === 'running' || state.status === 'paused');
  const ready = useDevice(selectReady);
  return (
    <div className={classes.heads} style={{ '--columns': columns.length + (hasFused ? 0 : 1) }}>
      {columns.map((column) => (
        <div
          key={column}
          className={classes.head}
          style={{ '--tone': `var(--tone-${identify(column).tone})` }}
        >
          {sources.includes(column) && sources.length > 1 ? (
            <Select
              aria-label="Source to compare"
              variant="unstyled"
              data={sources.map((name) => ({ value: name, label: identify(name).label }))}
              value={column}
              onChange={(name) => name && setChatSource(name)}
              leftSection={<ModelBadge identity={identify(column)} size={18} />}
              leftSectionWidth={26}
              className={classes.sourceSelect}
            />
          ) : (
            <>
              <ModelBadge identity={identify(column)} size={20} />
              <span className={classes.headName} aria-hidden="true">
                {identify(column).label}
              </span>
            </>
          )}
        </div>
      ))}
      {hasFused ? null : (
        <div className={classes.head} data-missing>
          <span className={classes.missing}>
            <ModelBadge identity={{ ...identify('fused'), hollow: true }} size={20} />
            <span className={classes.headName} aria-hidden="true">
              {identify('fused').label}
            </span>
          </span>
          {active ? (
            <Button size="compact-xs" variant="default" onClick={() => showStage('fuse')}>
              Being made
            </Button>
          ) : (
            <Button
              size="compact-xs"
              variant="default"
              disabled={!ready}
              onClick={() => {
                startRun();
                showStage('fuse');
              }}
            >
              Run the sample
            </Button>
          )}
        </div>
      )}
    </div>
  );
}

function Prompt({ columns }: { readonly columns: readonly string[] }) {
  const [text, setText] = useState('');
  const busy = useChat((state) => state.busy);
  const hasTurns = useChat((state) => state.turns.length > 0);
  const showSft = useChat((state) => state.showSft);
  const hasMerge = useMerge((state) => state.view !== undefined);
  const ready = useDevice(selectReady);
  const heldout = useProject((state) => state.heldout);
  const send = (event?: FormEvent) => {
    event?.preventDefault();
    if (busy || !text.trim()) return;
    const known = heldout.find((conversation) =>
      conversation.messages.some((message) => message.role === 'user' && message.content === text.trim()),
    );
    ask(text, columns, known?.accept);
    setText('');
  };
  return (
    <form className={classes.prompt} onSubmit={send}>
      <Textarea
        className={classes.input}
        aria-label="Prompt"
        placeholder="Ask all of them"
        autosize
        minRows={1}
        maxRows={5}
        value={text}
        onChange={(event) => setText(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === 'Enter' && !event.shiftKey && !event.nativeEvent.isComposing) {
            event.preventDefault();
            send();
          }
        }}
      />
      {busy ? (
        <Button h={36} variant="default" onClick={interruptChat} leftSection={<Icon name="stop" size={12} />}>
          Interrupt
        </Button>
      ) : (
        <Button
          h={36}
          type="submit"
          disabled={!ready || !text.trim()}
          leftSection={<Icon name="send" size={13} />}
        >
          Ask
        </Button>
      )}
      <div className={classes.options}>
        {hasMerge ? (
          <Switch
            label="SFT-only"
            checked={showSft}
            onChange={(event) => setShowSft(event.currentTarget.checked)}
          />
        ) : null}
        {hasTurns ? (
          <ActionIcon aria-label="Clear the conversation" disabled={busy} onClick={clearChat}>
            <Icon name="trash" size={15} />
          </ActionIcon>
        ) : null}
      </div>
    </form>
  );
}

import { ActionIcon, Kbd, Modal, Tooltip } from '@mantine/core';
import { useState } from 'react';
import { Icon } from '../views/Icon.tsx';
import classes from './HelpButton.module.css';

const words: readonly (readonly [string, string])[] = [
  ['Pivot', 'The model that learns. Its size, its tokenizer and its manners stay.'],
  ['Source', 'A model that knows something the pivot does not. It only teaches; its weights never change.'],
  ['Alignment', 'Which token of a source speaks about the same place of the text as a token of the pivot.'],
  ['Row', 'What a model expected at one place: its likeliest next tokens with their probabilities.'],
  ['Target', 'The pivot after it learned from one source; kept as the difference to the pivot, its delta.'],
  ['SFT-only', 'The pivot tuned on the same answers without any source. What fusion has to beat.'],
  ['Merge weight', 'How much of one source’s delta goes into one matrix of the fused model.'],
  ['Nats per byte', 'How surprised a model is by each byte of the right answers. Lower is better.'],
];

const keys: readonly (readonly [readonly string[], string])[] = [
  [['1', '…', '5'], 'go to a stage'],
  [['←', '→'], 'next token, next matrix'],
  [['↑', '↓'], 'other lane, other layer'],
  [['Enter'], 'inspect a token; type a weight'],
  [['+', '−'], 'weight by 0.01, with Shift by 0.1'],
  [['Esc'], 'clear the selection'],
];

/** The words and keys of the studio on one page. */
export function HelpButton() {
  const [open, setOpen] = useState(false);
  return (
    <>
      <Tooltip label="Words and keys">
        <ActionIcon aria-label="Help: words and keys" onClick={() => setOpen(true)}>
          <Icon name="help" />
        </ActionIcon>
      </Tooltip>
      <Modal opened={open} onClose={() => setOpen(false)} title="Words and keys" size="lg" centered>
        <dl className={classes.words}>
          {words.map(([word, meaning]) => (
            <div key={word}>
              <dt>{word}</dt>
              <dd>{meaning}</dd>
            </div>
          ))}
        </dl>
        <ul className={classes.keys}>
          {keys.map(([names, meaning]) => (
            <li key={meaning}>
              <span>
                {names.map((name) => (
                  <Kbd key={name} size="xs">
                    {name}
                  </Kbd>
                ))}
              </span>
              {meaning}
            </li>
          ))}
        </ul>
      </Modal>
    </>
  );
}

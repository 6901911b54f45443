import { Button, Modal, Textarea } from '@mantine/core';
import { useState } from 'react';
import type { Conversation } from '../../../pipeline/protocol.ts';
import { conversationTitle } from '../../state/project.ts';
import classes from './AlignStage.module.css';

/** A question and an answer of one's own, to see how they are cut. */
export function OwnText({
  conversation,
  onText,
}: {
  readonly conversation: Conversation | undefined;
  readonly onText: (conversation: Conversation) => void;
}) {
  const [open, setOpen] = useState(false);
  const [question, setQuestion] = useState('');
  const [answer, setAnswer] = useState('');
  const show = () => {
    setQuestion(conversation ? conversationTitle(conversation) : '');
    setAnswer(conversation?.messages.findLast((message) => message.role === 'assistant')?.content ?? '');
    setOpen(true);
  };
  const take = () => {
    setOpen(false);
    onText({
      id: `own ${question} ${answer}`,
      messages: [
        { role: 'user', content: question.trim() },
        { role: 'assistant', content: answer },
      ],
    });
  };
  return (
    <>
      <Button variant="default" onClick={show} px={10}>
        Own text
      </Button>
      <Modal opened={open} onClose={() => setOpen(false)} title="Own text" centered>
        <form
          className={classes.form}
          onSubmit={(event) => {
            event.preventDefault();
            take();
          }}
        >
          <Textarea
            label="Question"
            value={question}
            onChange={(event) => setQuestion(event.currentTarget.value)}
            autosize
            maxRows={4}
          />
          <Textarea
            label="Answer"
            description="The part that is cut, scored and aligned."
            value={answer}
            onChange={(event) => setAnswer(event.currentTarget.value)}
            autosize
            minRows={3}
            maxRows={10}
            data-autofocus
          />
          <Button type="submit" disabled={!question.trim() || !answer}>
            Align
          </Button>
        </form>
      </Modal>
    </>
  );
}

import { ask } from '../../state/chat.ts';
import { selectReady, useDevice } from '../../state/device.ts';
import { conversationTitle, useProject } from '../../state/project.ts';
import classes from './ChatStage.module.css';
import { pickSuggestions } from './pickSuggestions.ts';

/** Held-out questions to begin with, one of each domain. */
export function Suggestions({ columns }: { readonly columns: readonly string[] }) {
  const heldout = useProject((state) => state.heldout);
  const ready = useDevice(selectReady);
  return (
    <div className={classes.suggestions}>
      <p>Ask anything, or begin with a question that was held out from training:</p>
      <ul>
        {pickSuggestions(heldout).map((conversation) => (
          <li key={`${conversation.domain} ${conversation.id}`}>
            <button
              type="button"
              disabled={!ready}
              onClick={() => ask(conversationTitle(conversation), columns, conversation.accept)}
            >
              {conversation.domain ? <span className={classes.domain}>{conversation.domain}</span> : null}
              <span className={classes.suggestion}>{conversationTitle(conversation)}</span>
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}

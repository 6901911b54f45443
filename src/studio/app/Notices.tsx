import { ActionIcon, Button, CopyButton } from '@mantine/core';
import { dismissNotice, type Notice, useNotices } from '../state/notices.ts';
import { Icon } from '../views/Icon.tsx';
import classes from './Notices.module.css';

/** Errors and warnings above the status bar, until they are dismissed. */
export function Notices() {
  const notices = useNotices((state) => state.notices);
  return (
    <section className={classes.stack} aria-label="Messages" aria-live="assertive">
      {notices.map((notice) => (
        <Card key={notice.id} notice={notice} />
      ))}
    </section>
  );
}

function Card({ notice }: { readonly notice: Notice }) {
  const { id, kind, title, message, detail, action } = notice;
  return (
    <div className={classes.card} data-kind={kind}>
      <Icon name={kind === 'info' ? 'info' : 'warning'} />
      <div className={classes.words}>
        <strong>{title}</strong>
        <p>{message}</p>
        <div className={classes.actions}>
          {action ? (
            <Button size="compact-xs" variant="default" onClick={action.run}>
              {action.label}
            </Button>
          ) : null}
          {kind === 'error' ? (
            <CopyButton value={[title, message, detail].filter(Boolean).join('\n')}>
              {({ copied, copy }) => (
                <Button size="compact-xs" variant="subtle" onClick={copy}>
                  {copied ? 'Copied' : 'Copy report'}
                </Button>
              )}
            </CopyButton>
          ) : null}
        </div>
      </div>
      <ActionIcon size={22} aria-label={`Dismiss: ${title}`} onClick={() => dismissNotice(id)}>
        <Icon name="close" size={14} />
      </ActionIcon>
    </div>
  );
}

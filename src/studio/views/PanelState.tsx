import { Button, Loader, Progress } from '@mantine/core';
import type { ReactNode } from 'react';
import { Icon, type IconName } from './Icon.tsx';
import classes from './PanelState.module.css';

export interface PanelAction {
  readonly label: string;
  readonly run: () => void;
}

/** Everything a panel can be in; one vocabulary for all of them. */
export type PanelCondition =
  | { readonly kind: 'empty'; readonly title: string; readonly text: string; readonly action?: PanelAction }
  | {
      readonly kind: 'needs-input';
      readonly title: string;
      readonly text: string;
      readonly action?: PanelAction;
    }
  | { readonly kind: 'loading'; readonly title: string; readonly share?: number }
  | { readonly kind: 'ready' }
  | { readonly kind: 'running'; readonly title: string; readonly share?: number }
  | { readonly kind: 'paused'; readonly title: string; readonly action?: PanelAction }
  | { readonly kind: 'stale'; readonly text: string; readonly action?: PanelAction }
  | {
      readonly kind: 'error';
      readonly title: string;
      readonly text: string;
      readonly detail?: string;
      readonly action?: PanelAction;
    }
  | {
      readonly kind: 'unsupported';
      readonly title: string;
      readonly text: string;
      readonly action?: PanelAction;
    };

const icons: Partial<Record<PanelCondition['kind'], IconName>> = {
  empty: 'info',
  'needs-input': 'info',
  paused: 'pause',
  stale: 'clock',
  error: 'warning',
  unsupported: 'lock',
};

/**
 * Frames a panel's content. Conditions without content of their own take its place; `running`, `paused` and `stale` put
 * a line above it and leave it readable.
 */
export function PanelState({
  condition,
  children,
}: {
  readonly condition: PanelCondition;
  readonly children?: ReactNode;
}) {
  const { kind } = condition;
  if (kind === 'ready') return children;
  if (kind === 'stale' || kind === 'paused' || kind === 'running') {
    return (
      <>
        <Line condition={condition} />
        {children}
      </>
    );
  }
  if (kind === 'loading') {
    return (
      <div className={classes.block} data-kind={kind} role="status">
        {condition.share === undefined ? <Loader size={22} type="oval" /> : null}
        <p className={classes.title}>{condition.title}</p>
        {condition.share === undefined ? null : (
          <Progress value={100 * condition.share} w={220} size={4} aria-label={condition.title} />
        )}
      </div>
    );
  }
  const icon = icons[kind];
  return (
    <div className={classes.block} data-kind={kind} role={kind === 'error' ? 'alert' : 'status'}>
      {icon ? <Icon name={icon} size={22} /> : null}
      <p className={classes.title}>{condition.title}</p>
      <p className={classes.text}>{condition.text}</p>
      {'action' in condition && condition.action ? <Action action={condition.action} filled /> : null}
      {kind === 'error' && condition.detail ? (
        <details className={classes.detail}>
          <summary>Details</summary>
          <pre>{condition.detail}</pre>
        </details>
      ) : null}
    </div>
  );
}

type LineCondition = Extract<PanelCondition, { kind: 'stale' | 'paused' | 'running' }>;

function Line({ condition }: { readonly condition: LineCondition }) {
  const icon = icons[condition.kind];
  return (
    <div className={classes.line} data-kind={condition.kind} role="status">
      {icon ? <Icon name={icon} size={14} /> : <Loader size={12} type="oval" />}
      <span>{condition.kind === 'stale' ? condition.text : condition.title}</span>
      {'action' in condition && condition.action ? <Action action={condition.action} /> : null}
    </div>
  );
}

function Action({ action, filled = false }: { readonly action: PanelAction; readonly filled?: boolean }) {
  return (
    <Button
      size={filled ? 'xs' : 'compact-xs'}
      variant={filled ? 'filled' : 'default'}
      onClick={action.run}
      style={{ flex: 'none' }}
    >
      {action.label}
    </Button>
  );
}

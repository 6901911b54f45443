import { showStage, useLayout } from '../state/layout.ts';
import { Icon } from '../views/Icon.tsx';
import classes from './StageRail.module.css';
import { stages, statusWord } from './stages.ts';
import { useStageStatuses } from './useStageStatuses.ts';

/** The way through the pipeline: at the left on wide windows, at the foot on a phone. */
export function StageRail() {
  const current = useLayout((state) => state.stage);
  const statuses = useStageStatuses();
  return (
    <nav className={classes.rail} aria-label="Stages">
      {stages.map(({ id, title, icon }, index) => {
        const status = statuses[id] ?? 'empty';
        return (
          <button
            key={id}
            type="button"
            className={classes.stage}
            aria-current={current === id ? 'page' : undefined}
            onClick={() => showStage(id)}
          >
            <span className={classes.icon}>
              <Icon name={icon} size={18} />
            </span>
            <span className={classes.words}>
              <span className={classes.title}>
                <span className={classes.number} aria-hidden="true">
                  {index + 1}
                </span>
                {title}
              </span>
              <span className={classes.status}>{statusWord(id, status)}</span>
            </span>
            <span className={classes.dot} data-status={status} aria-hidden="true" />
          </button>
        );
      })}
    </nav>
  );
}

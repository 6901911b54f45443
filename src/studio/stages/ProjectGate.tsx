import type { ReactNode } from 'react';
import { loadProject, useProject } from '../state/project.ts';
import { PanelState } from '../views/PanelState.tsx';

/** Shows a stage once the models and the sample are read; before that, or when they cannot be, it says so. */
export function ProjectGate({ children }: { readonly children: ReactNode }) {
  const ready = useProject((state) => state.recipe !== undefined);
  const fault = useProject((state) => state.fault);
  if (ready) return children;
  if (!fault) return <PanelState condition={{ kind: 'loading', title: 'Reading the models…' }} />;
  const { message, detail } = fault;
  return (
    <PanelState
      condition={{
        kind: 'error',
        title: 'The models could not be read',
        text: message,
        ...(detail === undefined ? {} : { detail }),
        action: { label: 'Try again', run: loadProject },
      }}
    />
  );
}

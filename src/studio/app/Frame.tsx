import { Drawer } from '@mantine/core';
import { useMediaQuery } from '@mantine/hooks';
import { type ComponentType, useEffect } from 'react';
import { AlignInspector } from '../stages/align/AlignInspector.tsx';
import { AlignStage } from '../stages/align/AlignStage.tsx';
import { ChatInspector } from '../stages/chat/ChatInspector.tsx';
import { ChatStage } from '../stages/chat/ChatStage.tsx';
import { FuseInspector } from '../stages/fuse/FuseInspector.tsx';
import { FuseStage } from '../stages/fuse/FuseStage.tsx';
import { MergeInspector } from '../stages/merge/MergeInspector.tsx';
import { MergeStage } from '../stages/merge/MergeStage.tsx';
import { ModelsInspector } from '../stages/models/ModelsInspector.tsx';
import { ModelsStage } from '../stages/models/ModelsStage.tsx';
import { ProjectGate } from '../stages/ProjectGate.tsx';
import { followHash, type StageId, setSheet, showStage, stageIds, useLayout } from '../state/layout.ts';
import { DeviceBanner } from './DeviceBanner.tsx';
import classes from './Frame.module.css';
import { Header } from './Header.tsx';
import { Notices } from './Notices.tsx';
import { StageRail } from './StageRail.tsx';
import { StatusBar } from './StatusBar.tsx';
import { stages } from './stages.ts';

const screens: Readonly<
  Record<StageId, { readonly Stage: ComponentType; readonly Inspector: ComponentType }>
> = {
  models: { Stage: ModelsStage, Inspector: ModelsInspector },
  align: { Stage: AlignStage, Inspector: AlignInspector },
  fuse: { Stage: FuseStage, Inspector: FuseInspector },
  merge: { Stage: MergeStage, Inspector: MergeInspector },
  chat: { Stage: ChatStage, Inspector: ChatInspector },
};

/** Header, stage rail, the stage itself, inspector and status bar. */
export function Frame() {
  const stage = useLayout((state) => state.stage);
  const inspectorOpen = useLayout((state) => state.inspectorOpen);
  const sheetOpen = useLayout((state) => state.sheetOpen);
  const wide = useMediaQuery('(min-width: 1100px)', true, { getInitialValueInEffect: false });
  const phone = useMediaQuery('(max-width: 699px)', false, { getInitialValueInEffect: false });
  useEffect(followHash, []);
  useStageKeys();

  const { Stage, Inspector } = screens[stage];
  const title = stages.find(({ id }) => id === stage)?.title;
  return (
    <div className={classes.frame} data-inspector={(wide && inspectorOpen) || undefined}>
      <a className={classes.skip} href="#stage">
        Skip to the stage
      </a>
      <Header />
      <StageRail />
      <main className={classes.stage} id="stage" tabIndex={-1} aria-label={title}>
        <h1 className="visually-hidden">{title}</h1>
        <DeviceBanner />
        <ProjectGate>
          <Stage />
        </ProjectGate>
      </main>
      {wide && inspectorOpen ? (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so the keyboard must reach it
        <aside className={classes.inspector} aria-label="Inspector" tabIndex={0}>
          <Inspector />
        </aside>
      ) : null}
      {wide ? null : (
        <Drawer
          opened={sheetOpen}
          onClose={() => setSheet(false)}
          position={phone ? 'bottom' : 'right'}
          size={phone ? '72%' : 340}
          title="Inspector"
          overlayProps={{ backgroundOpacity: 0.35 }}
        >
          <Inspector />
        </Drawer>
      )}
      <StatusBar />
      <Notices />
    </div>
  );
}

/** The digits go to the stages, unless a person is typing. */
function useStageKeys(): void {
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      const target = event.target instanceof HTMLElement ? event.target : undefined;
      if (target?.closest('input, textarea, select, [contenteditable], [role="dialog"], [role="grid"]'))
        return;
      const id = stageIds[Number(event.key) - 1];
      if (id) showStage(id);
    };
    window.addEventListener('keydown', press);
    return () => window.removeEventListener('keydown', press);
  }, []);
}

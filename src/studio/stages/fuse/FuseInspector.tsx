import { useIdentity } from '../../app/useIdentity.ts';
import { useChanges } from '../../app/useStageStatuses.ts';
import { useProject } from '../../state/project.ts';
import { useRun } from '../../state/run.ts';
import { FactList } from '../../views/FactList.tsx';
import { formatShare } from '../../views/format.ts';
import { InspectorSection } from '../../views/InspectorSection.tsx';
import { ModelBadge } from '../../views/ModelBadge.tsx';
import { settingName, showValue } from './settings.ts';

/** The run in words: who learns what from whom, what changed, and how much of each source gets through. */
export function FuseInspector() {
  const recipe = useProject((state) => state.recipe);
  const summaries = useRun((state) => state.summaries);
  const changes = useChanges();
  const identify = useIdentity();
  if (!recipe) return null;
  const lambda = recipe.fuse.lambda;
  return (
    <>
      <InspectorSection title="This recipe">
        <FactList
          facts={[
            ['Pivot', <ModelBadge key="pivot" identity={identify('pivot')} named size={14} />],
            ...recipe.sources.map(
              (name, index) =>
                [
                  index === 0 ? 'Sources' : ' '.repeat(index),
                  <ModelBadge key={name} identity={identify(name)} named size={14} />,
                ] as const,
            ),
          ]}
        />
        <p>
          Each target learns {formatShare(lambda)} from the answers and {formatShare(1 - lambda)} from what
          its source expected. SFT-only learns from the answers alone, with the same budget: it is what fusion
          has to beat.
        </p>
      </InspectorSection>
      {changes.length > 0 ? (
        <InspectorSection title="Changed since the run">
          <FactList
            facts={changes.map(({ path, before, after }) => [
              settingName(path),
              `${showValue(before, path)} → ${showValue(after, path)}`,
            ])}
          />
        </InspectorSection>
      ) : null}
      {Object.keys(summaries).length > 0 ? (
        <InspectorSection title="Positions with a row">
          <FactList
            facts={Object.values(summaries).map((summary) => [
              identify(summary.source).label,
              `${formatShare(summary.coverage)}, taught ${summary.won} of ${summary.conversations}`,
            ])}
          />
        </InspectorSection>
      ) : null}
    </>
  );
}

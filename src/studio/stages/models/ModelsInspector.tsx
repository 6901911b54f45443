import { formatBytes } from '../../../util/bytes.ts';
import { useIdentity } from '../../app/useIdentity.ts';
import { useLayout } from '../../state/layout.ts';
import { useProject } from '../../state/project.ts';
import { FactList } from '../../views/FactList.tsx';
import { formatCount } from '../../views/format.ts';
import { InspectorSection } from '../../views/InspectorSection.tsx';
import { ModelBadge } from '../../views/ModelBadge.tsx';

/** The chosen model beside the pivot, and the data that the fusion learns from. */
export function ModelsInspector() {
  const focus = useLayout((state) => state.focus);
  const { models, recipe, train, heldout } = useProject();
  const identify = useIdentity();
  const chosen = focus?.kind === 'model' ? models.find((model) => model.name === focus.name) : undefined;
  const pivot = models.find((model) => model.name === recipe?.pivot);
  const domains = [...new Set(train.map((conversation) => conversation.domain ?? 'other'))];
  const count = (list: typeof train, domain: string) =>
    list.filter((conversation) => (conversation.domain ?? 'other') === domain).length;
  return (
    <>
      {chosen ? (
        <InspectorSection title={<ModelBadge identity={identify(chosen.name)} named />}>
          <FactList
            facts={[
              ...(chosen.from === undefined ? [['Name', chosen.name] as const] : hubFacts(chosen)),
              ['Parameters', chosen.parameters > 0 ? chosen.parameters.toLocaleString('en') : '–'],
              ['Family', chosen.family],
              ['Tokenizer', chosen.tokenizer ?? '–'],
              ['Vocabulary', `${formatCount(chosen.vocab)} tokens`],
              ['Context', `${formatCount(chosen.context)} tokens`],
              ['Size', formatBytes(chosen.bytes)],
              ['Licence', chosen.licence],
            ]}
          />
          {pivot && pivot !== chosen ? (
            <FactList
              facts={[
                ...(chosen.parameters > 0 && pivot.parameters > 0
                  ? [
                      [
                        'Against the pivot',
                        `${(chosen.parameters / pivot.parameters).toFixed(1)} × its size`,
                      ] as const,
                    ]
                  : []),
                ['Its weights', 'are not mixed with the pivot’s: only what it expects is taught'],
                ['Its tokens', 'are cut in its own way, so its rows are aligned first'],
              ]}
            />
          ) : null}
        </InspectorSection>
      ) : (
        <InspectorSection title="Models">
          <p>
            Choose a model’s name to see its numbers here. One model is the pivot, up to four are sources.
          </p>
        </InspectorSection>
      )}
      {recipe ? (
        <InspectorSection title="Conversations">
          <FactList
            facts={[
              ['To learn from', `${train.length}`],
              ['Held out', `${heldout.length}`],
              ...domains.map((domain): [string, string] => [
                domain,
                `${count(train, domain)} + ${count(heldout, domain)}`,
              ]),
            ]}
          />
        </InspectorSection>
      ) : null}
    </>
  );
}

/** A model of the hub is named by its id and commit, and by the file where it is one of several. */
function hubFacts({ name, from }: { readonly name: string; readonly from?: string }): [string, string][] {
  const [place = '', commit = ''] = name.split('@');
  const file = place.slice(`hub:${from}/`.length);
  return [
    ['Hub id', from ?? ''],
    ...(file === '' ? [] : [['File', file] as [string, string]]),
    ['Commit', commit],
  ];
}

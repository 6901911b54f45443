import { useCallback } from 'react';
import type { ReportRow } from '../../pipeline/protocol.ts';
import type { Identity } from '../state/identity.ts';
import { useRun } from '../state/run.ts';
import { rowKey, rowModel } from '../views/reportTable.ts';
import { useIdentity } from './useIdentity.ts';

/** Letter, tone and label of a report's row; of several with one role all but the first say how they differ. */
export function useReportIdentity(): (row: Pick<ReportRow, 'model' | 'role'>) => Identity {
  const identify = useIdentity('ran');
  const report = useRun((state) => state.report);
  return useCallback(
    (row) => {
      const identity = identify(rowModel(row, report?.recipe.sources ?? []));
      const first = report?.suites[0]?.rows.find((other) => other.role === row.role);
      const alone = row.role !== 'sft' && row.role !== 'merged';
      if (alone || !first || rowKey(first) === rowKey(row)) return identity;
      const label =
        row.role === 'merged'
          ? row.model.replace(/^merged/, 'Fused')
          : row.model.replace(/, scaled to the merged norm$/, ', same norm');
      return { ...identity, label, hollow: true };
    },
    [identify, report],
  );
}

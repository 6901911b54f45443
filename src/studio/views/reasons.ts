import type { MatchReason } from '../../pipeline/protocol.ts';
import type { RibbonKind } from './tokenLanes.ts';

/** One look for each reason, in lanes, bars and legends. */
export const reasonWords: Readonly<Record<MatchReason, { readonly name: string; readonly meaning: string }>> =
  {
    paired: {
      name: 'Has a row',
      meaning: 'Both tokenizers start a token here, so the source’s expectation can be taught.',
    },
    'inside-source-token': {
      name: 'Inside a source token',
      meaning: 'The source is in the middle of a token here and has no expectation of its own.',
    },
    'low-mass': {
      name: 'Too little mass',
      meaning: 'A row is there, but too little of its probability reaches tokens that the pivot has.',
    },
    'not-scored': {
      name: 'Not scored',
      meaning: 'The place is not part of the answer that is learned.',
    },
    'past-end': {
      name: 'Past the end',
      meaning: 'The source’s text was cut before this place.',
    },
  };

export const reasonOrder: readonly MatchReason[] = [
  'paired',
  'inside-source-token',
  'low-mass',
  'not-scored',
  'past-end',
];

export const ribbonWords: Readonly<Record<RibbonKind, string>> = {
  exact: 'same token',
  uneven: 'same start, other length',
  'inside-source-token': 'inside a source token: no row',
  'low-mass': 'too little mass: no row',
};

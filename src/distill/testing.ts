/** AdamW as tests of training take it: clipped, without weight decay. */
export const ADAMW = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, clip: 1 } as const;

import 'react';

declare module 'react' {
  /** Lets `style` carry custom properties. */
  interface CSSProperties {
    readonly [name: `--${string}`]: string | number | undefined;
  }
}

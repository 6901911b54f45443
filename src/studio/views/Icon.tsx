/** The studio's few icons, drawn on a 16 × 16 grid with the text's colour. Each is decoration: its button has a label. */
import type { ReactNode } from 'react';

const paths = {
  models: <path d="M8 1.8 13.6 5v6L8 14.2 2.4 11V5ZM2.6 5.1 8 8.2l5.4-3.1M8 8.2v5.8" />,
  align: <path d="M2 4h3.5M7.5 4H14M2 12h6M10 12h4M3.7 6v4M10.7 6l-2 4M12 6v4" />,
  fuse: <path d="M2 3v10.2h12M4.2 5c1.2 4.6 3 6.2 9.3 6.5" />,
  merge: (
    <path d="M2.2 2.2h3.3v3.3H2.2zM6.4 2.2h3.3v3.3H6.4zM10.6 2.2h3.3v3.3h-3.3zM2.2 6.4h3.3v3.3H2.2zM6.4 6.4h3.3v3.3H6.4zM10.6 6.4h3.3v3.3h-3.3zM2.2 10.6h3.3v3.3H2.2zM6.4 10.6h3.3v3.3H6.4zM10.6 10.6h3.3v3.3h-3.3z" />
  ),
  chat: <path d="M2.5 3h11v7.5H7.6L4.5 13v-2.5h-2Z" />,
  play: <path d="M4.5 2.8v10.4L13 8Z" fill="currentColor" strokeLinejoin="round" />,
  pause: <path d="M5.3 3v10M10.7 3v10" strokeWidth="2.4" />,
  step: <path d="M4 3.2v9.6L10.6 8ZM12.4 3.2v9.6" />,
  stop: <path d="M4 4h8v8H4z" fill="currentColor" />,
  reset: <path d="M3 5.5h7.2a3.4 3.4 0 0 1 0 6.8H5M3 5.5l2.6-2.6M3 5.5l2.6 2.6" />,
  undo: <path d="M3 6.5h6.5a3.5 3.5 0 0 1 3.5 3.5v2M3 6.5l3-3M3 6.5l3 3" />,
  redo: <path d="M13 6.5H6.5A3.5 3.5 0 0 0 3 10v2M13 6.5l-3-3M13 6.5l-3 3" />,
  close: <path d="m4 4 8 8M12 4l-8 8" />,
  check: <path d="m3 8.4 3.2 3.2L13 4.6" />,
  warning: <path d="M8 2.2 14.4 13.4H1.6ZM8 6.4v3.4M8 11.4v.4" />,
  info: <path d="M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8ZM8 7.2v4M8 4.6v.6" />,
  sun: (
    <path d="M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6ZM8 1.2v1.4M8 13.4v1.4M1.2 8h1.4M13.4 8h1.4M3.2 3.2l1 1M11.8 11.8l1 1M12.8 3.2l-1 1M4.2 11.8l-1 1" />
  ),
  moon: <path d="M13.4 9.6A5.8 5.8 0 0 1 6.4 2.6a5.8 5.8 0 1 0 7 7Z" />,
  auto: <path d="M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8Zm0 0v12.4" />,
  panel: <path d="M2.2 3h11.6v10H2.2zM10 3v10" />,
  left: <path d="M10 3 5 8l5 5" />,
  right: <path d="m6 3 5 5-5 5" />,
  down: <path d="m3 6 5 5 5-5" />,
  send: <path d="M8 13.4V3M3.8 7.2 8 3l4.2 4.2" />,
  sliders: <path d="M2 4.5h7M12 4.5h2M10.5 3v3M2 11.5h2M7 11.5h7M5.5 10v3" />,
  lock: <path d="M3.8 7h8.4v6.4H3.8zM5.6 7V4.8a2.4 2.4 0 0 1 4.8 0V7" />,
  help: (
    <path d="M6 6.1A2.1 2.1 0 1 1 8.9 8c-.7.3-.9.7-.9 1.5M8 11.4v.4M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8Z" />
  ),
  download: <path d="M8 2.4v7.8M4.8 7 8 10.2 11.2 7M3 13.2h10" />,
  trash: <path d="M3 4.5h10M6.3 4.5V2.8h3.4v1.7M4.4 4.5l.6 8.7h6l.6-8.7" />,
  clock: <path d="M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8ZM8 4.6V8l2.3 1.6" />,
} satisfies Record<string, ReactNode>;

export type IconName = keyof typeof paths;

export function Icon({ name, size = 16 }: { readonly name: IconName; readonly size?: number }) {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 16 16"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.35"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      focusable="false"
      style={{ flex: 'none', display: 'block' }}
    >
      {paths[name]}
    </svg>
  );
}

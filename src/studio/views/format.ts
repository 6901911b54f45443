/** Numbers as the studio writes them; units stand in the name or in the result. */

/** 1,312,000 → "1.3 M" */
export function formatCount(value: number): string {
  if (value >= 1e9) return `${trim(value / 1e9)} B`;
  if (value >= 1e6) return `${trim(value / 1e6)} M`;
  if (value >= 1e4) return `${trim(value / 1e3)} k`;
  return value.toLocaleString('en');
}

function trim(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toFixed(1).replace(/\.0$/, '');
}

/** 0.9231 → "92 %"; tenths where a whole percent would hide the difference. */
export function formatShare(share: number): string {
  const percent = 100 * share;
  if (percent > 0 && percent < 9.95) return `${percent.toFixed(1)} %`;
  if (percent > 99 && percent < 99.95) return `${percent.toFixed(1)} %`;
  return `${percent.toFixed(0)} %`;
}

/** 200 → "3 min 20 s"; what is under a second is "1 s" when it still runs. */
export function formatSeconds(seconds: number): string {
  const whole = Math.max(1, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** With its sign, a true minus, and a plain zero. */
export function formatSigned(value: number, digits = 3): string {
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return `±${text}`;
  return `${value < 0 ? '−' : '+'}${text}`;
}

/** A day as everybody reads it: 23 Nov 2026. */
export function formatDay(time: number): string {
  return new Date(time).toLocaleDateString('en-GB', { day: 'numeric', month: 'short', year: 'numeric' });
}

/** Whitespace as something one can see: space `·`, newline `↵`, tab `→`. */
export function visibleWhitespace(text: string): string {
  return text.replace(/ /g, '·').replace(/\r/g, '␍').replace(/\n/g, '↵').replace(/\t/g, '→');
}

/** Bytes as pairs of hex digits. */
export function hexBytes(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
}

/** Some rows of a matrix, which lie next to each other in a file. */
export interface RowRange {
  readonly start: number;
  readonly count: number;
}

/** Where the rows lie in a matrix of so many rows and bytes. */
export function byteRange(
  { start, count }: RowRange,
  rows: number,
  bytes: number,
): { readonly offset: number; readonly length: number } {
  const rowBytes = bytes / rows;
  return { offset: start * rowBytes, length: count * rowBytes };
}

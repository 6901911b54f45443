/** Rows that lie in one piece where a matrix is split; a bias is cut at the same places, so its slices stay aligned. */
const ROW_STEP = 64;

/**
 * How many rows of a matrix go into one piece: all of them, or equal runs of whole steps of 64 rows where possible.
 * @param pieceBytes how large a piece should be; one of 64 rows may be larger
 */
export function chunkRows(
  rows: number,
  rowBytes: number,
  { bindingBytes, pieceBytes }: { readonly bindingBytes: number; readonly pieceBytes: number },
): number {
  const wanted = Math.max(ROW_STEP * rowBytes, pieceBytes);
  const most = Math.max(1, Math.floor(Math.min(bindingBytes, wanted) / rowBytes));
  if (rows <= most) return Math.max(1, rows);
  const equal = Math.ceil(rows / Math.ceil(rows / most));
  if (most < ROW_STEP) return equal;
  const stepped = Math.ceil(equal / ROW_STEP) * ROW_STEP;
  return stepped <= most ? stepped : Math.floor(most / ROW_STEP) * ROW_STEP;
}

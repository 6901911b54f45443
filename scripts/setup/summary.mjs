import { readFileSync } from 'node:fs';

/**
 * @typedef {{ passed: number, failed: number, skipped: number }} Counts
 */

/**
 * Counts of a test run from its JSON report. A run that failed counts at least one failure, also where no test says so:
 * a file that does not load, an error outside of tests, a crash before the report was written.
 * @param {unknown} report what the runner wrote, or undefined when it wrote nothing
 * @param {number} exitCode of the runner
 * @param {(report: any) => Counts} read
 * @returns {Counts}
 */
function countsOf(report, exitCode, read) {
  const counts = report === undefined ? { passed: 0, failed: 0, skipped: 0 } : read(report);
  return { ...counts, failed: exitCode === 0 ? counts.failed : Math.max(1, counts.failed) };
}

/** @param {unknown} report of `vitest --reporter=json` @param {number} exitCode @returns {Counts} */
export function vitestCounts(report, exitCode) {
  return countsOf(report, exitCode, ({ numPassedTests, numFailedTests, numPendingTests, numTodoTests }) => ({
    passed: numPassedTests,
    failed: numFailedTests,
    skipped: numPendingTests + numTodoTests,
  }));
}

/** @param {unknown} report of `playwright --reporter=json` @param {number} exitCode @returns {Counts} */
export function playwrightCounts(report, exitCode) {
  return countsOf(report, exitCode, ({ stats }) => ({
    passed: stats.expected + stats.flaky,
    failed: stats.unexpected,
    skipped: stats.skipped,
  }));
}

/** @param {string} file @returns {unknown} */
export function readReport(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

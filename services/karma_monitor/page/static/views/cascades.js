/** Streams that ask one judge first: what that saves of the other judges, and how often its labels are wrong. */

import { count, interval, share } from "../format.js";
import { table } from "../panels.js";

export const CASCADE_NOTE =
  "One judge is asked first, the others only where they may disagree. Wrong: labels by the first judge alone that " +
  "contradict the others, by the pairs that an audit showed to all (95 % interval).";

/** @param {object[]} found as in `figures/judges/cascades.py` */
export function cascades(found) {
  const head = [
    ...["stream", "pairs", "decided by the first judge alone", "calls of the others", "saved"],
    ...["wrong labels of the first judge", "audited pairs"],
  ];
  const rows = found.map(({ label_error: error, ...one }) => [
    ...[one.stream, count(one.pairs), share(one.alone_share), count(one.larger_calls), share(one.saved_share)],
    error ? interval(error.estimate, error.low, error.high) : "unknown: no audit yet",
    error ? count(error.audited) : "0",
  ]);
  return table("First judges", head, rows);
}

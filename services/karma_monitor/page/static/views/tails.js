/** Whether predictions hold: stated and observed error by bins of the stated probability, and limits on the label error. */

import { h } from "../dom.js";
import { count, interval, share } from "../format.js";
import { intervals } from "../intervals.js";
import { behind, table } from "../panels.js";
import { ticks } from "../scale.js";

/** What dots, bars and states mean, below a heading; `tolerance` is a share. */
export function tailNote(what, tolerance) {
  return (
    `${what} Dot and line: the share that turned out wrong, with its 95 % interval. Upright bar: the share that is ` +
    `expected to be wrong. Reliable: the two are known to differ by less than ${100 * tolerance} points. ` +
    "Unreliable: they are known to differ. Unknown: nobody can tell; the table says why."
  );
}

/**
 * Bins of one kind of prediction as intervals, with a table behind.
 * @param {string} name what is predicted
 * @param {object[]} bins as in `figures/predictions.py`; those without verdicts have no errors
 * @param {string} noun of what a bin counts
 */
export function tail(name, bins, noun) {
  const counted = bins.filter((bin) => bin.number > 0);
  if (counted.length === 0) return h("p", { class: "empty" }, `Unknown: no ${noun} with a probability above 80 % yet.`);
  const rows = bins.map((bin) => ({
    label: range(bin),
    value: bin.observed,
    low: bin.observed_low,
    high: bin.observed_high,
    mark: bin.stated,
    faint: bin.state === "unknown",
    text: [state(bin), `: ${found(bin, noun)}`],
  }));
  const ends = ticks(0, Math.max(...counted.map((bin) => Math.max(bin.observed_high, bin.stated)), 0.01), 4);
  const show = (value) => String(Number((100 * value).toPrecision(3)));
  const head = ["stated probability", "expected wrong", "wrong (95 % interval)", noun, "state", "why"];
  const lines = bins.map((bin) => [
    range(bin),
    share(bin.stated),
    interval(bin.observed, bin.observed_low, bin.observed_high),
    count(bin.number),
    bin.state,
    h("span", { class: "reason" }, bin.why),
  ]);
  return [
    intervals("Stated probability", rows, { unit: "wrong, %", said: "state, share wrong (95 % interval)", ends, show }),
    behind(name, head, lines, { texts: [4, 5] }),
  ];
}

const range = ({ low, high }) => `${Number((100 * low).toFixed(1))} to ${Number((100 * high).toFixed(1))} %`;

const found = ({ number, observed, observed_low: low, observed_high: high }, noun) =>
  number > 0 ? `${interval(observed, low, high)} wrong` : `no ${noun} yet`;

/** The state of a bin: a sign and a word, never a color alone. */
function state(bin) {
  const [sign, kind] = STATES[bin.state];
  return h("strong", { class: kind }, h("span", { "aria-hidden": "true" }, sign), ` ${bin.state}`);
}

const STATES = { reliable: ["✓", "good"], unreliable: ["⚠", "bad"], unknown: ["?", "note"] };

/** The limits on the label error, with the reason where no label goes out yet; nothing where there are none. */
export function limits(streams) {
  const rows = streams
    .filter((one) => one.label_limit)
    .map(({ stream, label_limit: { limit, share: spared, bound, ceiling, judged, reason } }) => [
      stream,
      share(limit),
      ceiling === null ? "none yet" : share(spared, 0),
      share(bound),
      count(judged),
      h("span", { class: "reason" }, reason),
    ]);
  if (rows.length === 0) return null;
  const head = ["stream", "max_label_error", "pairs left to prediction", "at most wrong", "judged pairs", "reason"];
  return table("Limits on wrong predicted labels", head, rows, { texts: [5] });
}

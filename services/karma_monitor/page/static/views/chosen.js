/** Chosen responses beside rejected ones: lengths, quality and competency, by stream and over time. */

import { h } from "../dom.js";
import { count, date, number, share } from "../format.js";
import { table } from "../panels.js";

export const CHOSEN_NOTE =
  "Lengths are characters. Quality is the score of a checker or a reward model, over preferences of which both responses " +
  "have one; competency is that of the responses' models in the prompt's skill when the pair was formed, in logits.";

const HEAD = [
  ...["preferences", "chosen is longer", "chosen ÷ rejected length", "median"],
  ...["quality of the chosen", "of the rejected", "competency of the chosen", "of the rejected"],
];

/** A ratio from its logarithm. */
const times = (log) => number(log === null ? null : Math.exp(log));

const figures = (one) => [
  count(one.preferences),
  share(one.longer_share),
  times(one.length_log_ratio_mean),
  times(one.length_log_ratio_median),
  ...[one.chosen_quality, one.rejected_quality].map((value) => number(value)),
  ...[one.chosen_competency, one.rejected_competency].map((value) => number(value)),
];

/** The tables by stream and label source, and of the newest pairs over time. */
export function chosen(found, { preferences_over_time: parts }) {
  if (found.length === 0) return h("p", { class: "empty" }, "No preferences yet.");
  const rows = found.map((one) => [one.stream, one.label_source === "judge" ? "judged" : "predicted", ...figures(one)]);
  const byTime = (parts ?? []).map((one) => [`${date(one.from)} to ${date(one.to)}`, ...figures(one)]);
  return [
    table("Chosen and rejected responses", ["stream", "labels", ...HEAD], rows),
    byTime.length > 1 && [
      h("h3", { class: "stream-name" }, "Newest pairs over time"),
      table("Chosen and rejected responses over time", ["time", ...HEAD], byTime),
    ],
  ];
}

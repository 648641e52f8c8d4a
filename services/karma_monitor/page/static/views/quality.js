/** What the pairs are worth: flips, biases, distributions, what each policy and judge gave, the gate, the cost. */

import { get, queryOf } from "../api.js";
import { h, render } from "../dom.js";
import { count, counted, interval, money, number, share } from "../format.js";
import { intervals } from "../intervals.js";
import { choice, empty, panel, table, tiles } from "../panels.js";
import { histogram } from "../plot.js";

export const title = () => "Quality";

const EVERY_S = 15;

const HISTOGRAMS = [
  ["gap", "Competency gap", "logits between the two models"],
  ["information", "Information", "bit that a verdict was expected to tell"],
  ["kinship", "Kinship", "chance that the two are about equally competent"],
  ["likeness", "Likeness", "how alike the two responses are, 0 to 1"],
  ["novelty", "Prompt novelty", "share of the prompt that no prompt before it had"],
  ["length_ratio", "Length ratio", "longer ÷ shorter response; bins of unequal widths"],
  ["probability", "Certainty of the label", "probability of the chosen side"],
];

export function open(root, context) {
  const [head, live, body] = [h("div"), h("div"), h("div")];
  root.append(h("div", { class: "title" }, h("h1", {}, "Pair quality"), head), live, body);
  const stream = context.query.get("stream") ?? "";
  const pick = (event) => context.go(`/quality${queryOf({ stream: event.target.value })}`, { replace: true });
  let known = null;
  context.listen(({ quality, streams }) => {
    render(live, stream ? [] : liveQuality(quality, false));
    if (known === streams.join("\n")) return;
    known = streams.join("\n");
    const names = [...new Set([...streams, ...(stream ? [stream] : [])])];
    const options = [["", "all streams"], ...names.map((name) => [name, name])];
    head.replaceChildren(
      h("form", { class: "filters", on: { change: pick } }, choice("Stream", "stream", stream, options)),
    );
  });
  return context.every(EVERY_S, async () => {
    const found = await get("/api/quality", { stream });
    if (!context.left) render(body, panels(found));
  });
}

function panels(found) {
  if (!found.window) return empty("No pair has been resolved yet.", "karma enqueue FILE");
  return [
    h("p", { class: "note" }, `Measured over the newest ${count(found.window)} resolved pairs.`),
    panel(
      "Distributions",
      {},
      h(
        "div",
        { class: "grid" },
        HISTOGRAMS.map(([key, name, unit]) => drawn(found.histograms, key, name, unit)),
      ),
    ),
    panel("Length and wins", { note: LENGTH_NOTE }, lengths(found.length)),
    panel("Policies", { note: "What each policy's pairs came to." }, policies(found.policies)),
    panel("Gate and audit", { note: GATE_NOTE }, gate(found.gate)),
    panel(
      "Judges",
      { note: "A fair judge prefers what it is shown first in half of its one-sided verdicts." },
      judges(found),
    ),
    panel("Cost", {}, cost(found)),
  ];
}

const LENGTH_NOTE =
  "How often the longer response wins, by how much longer it is. The upright bar is what competency alone would give; " +
  "the dashed line is at 50 %.";
const GATE_NOTE =
  "How many pairs went to a judge, and how wrong the labels are that no judge saw, estimated from the audit.";

function drawn(histograms, key, name, xUnit) {
  const found = histograms[key];
  return found ? histogram(name, found, { xUnit }) : null;
}

/** The figures of quality that are in the live picture. */
export function liveQuality(quality, withLink) {
  const more = withLink && { href: "/quality", text: "Quality in full" };
  const name = withLink ? "Pair quality" : "At a glance";
  if (!quality.window) return panel(name, { more }, empty("No pair has been resolved yet.", "karma enqueue FILE"));
  const error = quality.label_error;
  const figures = [
    ["Order flips", share(quality.flip_share), "of pairs judged in both orders"],
    ["Ties", share(quality.tie_share), "of resolved pairs"],
    ["Agreement of judges", share(quality.agreement), "of pairs seen by several"],
    ["Longer wins", share(quality.longer_wins), `${share(quality.longer_expected)} by competency alone`],
    ["Judged", share(quality.judged_share), "of pairs; the others are predicted"],
    [
      "Wrong labels",
      error ? share(error.estimate) : "–",
      error ? `${share(error.low)} to ${share(error.high)}, audited` : "no audit yet",
    ],
  ];
  return panel(
    name,
    { more, note: `Over the newest ${count(quality.window)} resolved pairs.` },
    tiles(figures),
    withLink && firstPosition(quality.first_position),
  );
}

function firstPosition(found) {
  const rows = found
    .filter((one) => one.share !== null)
    .map((one) => ({
      label: one.judge,
      value: one.share,
      low: one.low,
      high: one.high,
      text: `${interval(one.share, one.low, one.high)} of ${count(one.n)}`,
    }));
  if (rows.length === 0) return h("p", { class: "empty" }, "No judge that sees both orders has taken a side yet.");
  return intervals("First position", rows, {
    unit: "wins of the response shown first, %",
    said: "share, 95 % interval",
    rule: 0.5,
    ends: [0, 0.25, 0.5, 0.75, 1],
    show: (value) => String(100 * value),
  });
}

function lengths(found) {
  const rows = found
    .filter((one) => one.pairs > 0)
    .map((one) => ({
      label: one.to === null ? `over ${one.from} ×` : `${one.from} to ${one.to} ×`,
      value: one.longer,
      low: one.low,
      high: one.high,
      mark: one.expected,
      text: `${interval(one.longer, one.low, one.high)}, ${share(one.expected)} expected, ${counted(one.pairs, "pair")}`,
    }));
  if (rows.length === 0) return h("p", { class: "empty" }, "No decisive pair yet.");
  return intervals("Longer by", rows, {
    unit: "the longer one wins, %",
    said: "share, 95 % interval",
    rule: 0.5,
    ends: [0, 0.25, 0.5, 0.75, 1],
    show: (value) => String(100 * value),
  });
}

function policies(found) {
  if (found.length === 0) return h("p", { class: "empty" }, "No pair was formed yet.");
  const head = [
    ...["policy", "prompts", "pairs", "judge calls", "decisive", "predicted", "decisive a prompt", "decisive a call"],
    ...["bit a pair", "ties", "inconsistent", "flips", "chosen ÷ rejected length", "wrong by reference"],
  ];
  const rows = found.map((one) => [
    one.name,
    ...[one.prompts, one.pairs, one.judge_calls, one.decisive, one.predicted].map(count),
    ...[one.decisive_per_prompt, one.decisive_per_call, one.bits_per_pair].map((value) => number(value, 3)),
    ...[one.tie_share, one.inconsistent_share, one.flip_share].map((value) => share(value)),
    number(one.length_ratio),
    share(one.label_error),
  ]);
  return table("Policies", head, rows);
}

function gate(found) {
  const rows = found.map(({ stream, pairs, judged_share, label_error: error }) => [
    stream,
    count(pairs),
    share(judged_share),
    error ? interval(error.estimate, error.low, error.high) : "–",
    error ? count(error.audited) : "–",
  ]);
  if (rows.length === 0) return h("p", { class: "empty" }, "No stream has pairs yet.");
  return table("Gate and audit", ["stream", "pairs", "judged", "wrong labels (95 % interval)", "audited pairs"], rows);
}

function judges({ judges: found, first_position }) {
  if (found.length === 0) return h("p", { class: "empty" }, "No verdict yet.");
  const rows = found.map((one) => [
    one.judge,
    count(one.verdicts),
    count(one.failed),
    share(one.first_share),
    share(one.tie_share),
    share(one.agreement),
    count(one.tokens),
  ]);
  const head = ["judge", "verdicts", "without a verdict", "first position", "ties", "agrees with the others", "tokens"];
  return [firstPosition(first_position), table("Judges", head, rows)];
}

function cost({ cost: found, stream }) {
  if (stream !== null)
    return h("p", { class: "empty" }, "Known for all streams together only: calls are not told apart by stream.");
  if (!found.cost_is_whole) return h("p", { class: "empty" }, "The calls are being counted.");
  if (found.cost === null)
    return h("p", { class: "empty" }, "Unknown: no price of a model or judge stands in the pool file.");
  const rows = found.endpoints.map((one) => [
    one.name,
    one.kind,
    count(one.calls),
    count(one.tokens_in),
    count(one.tokens_out),
    money(one.cost, found.currency),
  ]);
  return [
    tiles([
      ["Spent", money(found.cost, found.currency), spentNote(found)],
      ["A preference", money(found.cost_per_preference, found.currency), "models and judges together"],
    ]),
    table("Cost", ["name", "kind", "calls", "tokens read", "tokens written", "cost"], rows, { texts: [1] }),
  ];
}

/** What the sum leaves out, in words. */
export function spentNote({ cost, cost_unknown_calls }) {
  if (cost === null || !cost_unknown_calls) return "in all";
  return `and ${count(cost_unknown_calls)} calls without a price or tokens`;
}

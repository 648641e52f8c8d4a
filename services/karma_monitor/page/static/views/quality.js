/** Pair-quality statistics: distributions, biases, policies, the judge budget, judges, cost. */

import { get, queryOf } from "../api.js";
import { h, render } from "../dom.js";
import { count, counted, date, interval, lastPairs, money, number, share, signed } from "../format.js";
import { intervals } from "../intervals.js";
import { behind, choice, empty, panel, table, tiles } from "../panels.js";
import { histogram, spots } from "../plot.js";
import { ticks } from "../scale.js";
import { CASCADE_NOTE, cascades } from "./cascades.js";
import { CHOSEN_NOTE, chosen } from "./chosen.js";
import { limits, tail, tailNote } from "./tails.js";

export const title = () => "Quality";

const EVERY_S = 15;

const HISTOGRAMS = [
  ["gap", "Competency gap", "logits between the two models"],
  ["information", "Expected information", "expected information, bits"],
  ["kinship", "Kinship", "probability that the two models are about equally competent"],
  ["likeness", "Similarity", "similarity of the two responses, 0 to 1"],
  ["novelty", "Prompt novelty", "share of new text"],
  ["length_ratio", "Length ratio", "longer ÷ shorter response; bins of unequal widths"],
  ["probability", "Label certainty", "probability of the chosen side"],
];

export function open(root, context) {
  const [head, live, body] = [h("div"), h("div"), h("div")];
  root.append(h("div", { class: "title" }, h("h1", {}, "Pair quality"), head), live, body);
  const stream = context.query.get("stream") ?? "";
  const pick = (event) => context.go(`/quality${queryOf({ stream: event.target.value })}`, { replace: true });
  let known = null;
  context.listen(({ quality, streams }) => {
    render(live, stream ? [] : liveQuality(quality, false));
    if (known === streams.join("\n") || (context.frozen && streams.length < 2)) return;
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

/** A statistic and its pairs: over all where a report measured them, else over the newest. */
function over(found, name) {
  const all = found.all?.[name];
  if (all !== undefined) return [all, `All pairs of ${found.stream === null ? "all streams" : "the stream"}.`];
  return [found[name], windowOf(found)];
}

/** The window of the newest pairs as a sentence. */
function windowOf({ window, window_from }) {
  const text = lastPairs(window);
  return `${text[0].toUpperCase()}${text.slice(1)}${window_from ? `, since ${date(window_from)}` : ""}.`;
}

function panels(found) {
  if (!found.window) return empty("No resolved pairs yet.", "karma enqueue FILE");
  const named = (name) => over(found, name);
  const [byPolicy, ofPolicies] = named("policies");
  const [byLength, ofLengths] = named("length");
  const [predicted] = named("length_predicted");
  const [byChosen, ofChosen] = named("preferences");
  const [positions, ofPositions] = named("first_position");
  const [byJudge, ofJudges] = named("judges");
  const [byGap, ofGaps] = named("flips_by_gap");
  const [byCascade, ofCascades] = named("cascades");
  return [
    panel(
      "Distributions",
      { note: windowOf(found) },
      h(
        "div",
        { class: "grid" },
        HISTOGRAMS.map(([key, name, unit]) => drawn(found.histograms, key, name, unit)),
      ),
    ),
    panel("Chosen and rejected responses", { note: `${ofChosen} ${CHOSEN_NOTE}` }, chosen(byChosen ?? [], found)),
    panel("Longer responses", { note: `${ofLengths} ${LENGTH_NOTE}` }, lengths(byLength, predicted ?? [])),
    panel("Policies", { note: ofPolicies }, policies(byPolicy)),
    panel("Judge budget", { note: BUDGET_NOTE }, budget(found.gate)),
    found.gate.length > 0 && predictedLabels(found),
    (byCascade ?? []).length > 0 && panel("First judges", { note: `${ofCascades} ${CASCADE_NOTE}` }, cascades(byCascade)),
    panel("Position bias", { note: `${ofPositions} ${POSITION_NOTE}` }, firstPosition(positions)),
    panel("Order flips by gap", { note: `${ofGaps} ${FLIPS_NOTE}` }, flipsByGap(byGap ?? [])),
    panel("Judges", { note: [ofJudges, ...unknownOf(byJudge)].join(" ") }, judges(byJudge)),
    (found.canaries ?? []).length > 0 && panel("Canaries", { note: CANARY_NOTE }, canaries(found.canaries)),
    found.people && panel("Judges and people", { note: peopleNote(found.people) }, people(found.people)),
    panel("Cost", { note: "All calls so far." }, cost(found)),
  ];
}

const LENGTH_NOTE =
  "Share of judged preferences won by the longer response, by how much longer it is. The upright bar is the share " +
  "expected by competency alone; the dashed line is 50 %. More than expected is no bias by itself: better responses may " +
  "be longer. A judge's length bias is below, where a reference or other judges tell it from quality.";
const BUDGET_NOTE =
  "All pairs since the budget was set: the share that was judged, and the wrong labels among the predicted ones " +
  "(audited, 95 % interval).";
const POSITION_NOTE =
  "Verdicts that prefer the response shown first, over pairs judged in both orders, and over first verdicts where the " +
  "first order is drawn; 50 % is fair.";
const FLIPS_NOTE =
  "Share of order flips by the gap of the two models' competencies when the pair was formed. With adaptive orders, " +
  "audited pairs stand for those that were asked in one.";

/** A share this far from a half, interval included, is marked. */
const POSITION_CONCERN = 0.05;

function drawn(histograms, key, name, xUnit) {
  const found = histograms[key];
  return found ? histogram(name, found, { xUnit }) : null;
}

/** The quality figures of the live status. */
export function liveQuality(quality, withLink) {
  const more = withLink && { href: "/quality", text: "All quality statistics" };
  const name = withLink ? "Pair quality" : "At a glance";
  if (!quality.window) return panel(name, { more }, empty("No resolved pairs yet.", "karma enqueue FILE"));
  const figures = [
    ["Order flips", share(quality.flip_share), flipsByJudge(quality.judges ?? [])],
    ["Ties", share(quality.tie_share), "of resolved pairs"],
    ["Judge agreement", share(quality.agreement), "of pairs of judges take the same side"],
    ["Longer response wins", share(quality.longer_wins), `${share(quality.longer_expected)} expected`],
    ["Judged", share(quality.judged_share), `of pairs; the others are predicted${savedCalls(quality.calls_saved_share)}`],
    ["Wrong predicted labels", ...wrongOf(quality)],
  ];
  return panel(
    name,
    { more, note: windowOf(quality) },
    tiles(figures),
    withLink && firstPosition(quality.first_position),
  );
}

/** The audited label error; unknown before an audit, and nothing where no label is predicted. */
function wrongOf(quality) {
  const error = wrongLabels(quality);
  if (error) return [share(error.estimate), audited(error)];
  return quality.judged_share === 1 ? ["–", "no label is predicted"] : ["unknown", "no audit yet"];
}

const wrongLabels = (quality) => quality.predicted_label_error ?? quality.label_error;

function audited({ low, high, stream }) {
  return `audited, 95 % interval ${number(100 * low, 1)} to ${number(100 * high, 1)}; stream ${stream}`;
}

const savedCalls = (saved) => (saved ? `; ${share(saved)} of calls saved by the orders asked` : "");

/** Order flips by the competency gap. */
function flipsByGap(found) {
  const rows = found
    .filter((one) => one.both_orders > 0)
    .map(({ from, to, both_orders, flip_share }) => [
      to === null ? `above ${number(from, 2)}` : `${number(from, 2)} to ${number(to, 2)}`,
      count(Math.round(both_orders)),
      share(flip_share),
    ]);
  if (rows.length === 0) return h("p", { class: "empty" }, "No pair was judged in both orders.");
  return table("Order flips by gap", ["competency gap, logits", "pairs in both orders", "order flips"], rows);
}

/** Each judge's flips where there is room, else those of the judge with the most. */
function flipsByJudge(found) {
  const known = found.filter((one) => one.both_orders > 0);
  if (known.length === 0) return "of pairs judged in both orders";
  const sorted = known.toSorted((one, other) => other.flip_share - one.flip_share);
  const shown = sorted.slice(0, SHOWN_JUDGES).map((one) => `${one.judge} ${share(one.flip_share, 0)}`);
  const rest = sorted.length - shown.length;
  return `per judge: ${shown.join(", ")}${rest ? `, and ${rest} with fewer` : ""}`;
}

const SHOWN_JUDGES = 3;

const SHARES = { rule: 0.5, ends: [0, 0.25, 0.5, 0.75, 1], show: (value) => String(100 * value) };

function firstPosition(found) {
  const rows = found
    .filter((one) => one.share !== null)
    .map((one) => ({
      label: one.judge,
      value: one.share,
      low: one.low,
      high: one.high,
      text: [
        `${interval(one.share, one.low, one.high)} of ${count(one.n)}`,
        (one.low > 0.5 + POSITION_CONCERN || one.high < 0.5 - POSITION_CONCERN) &&
          h("span", { class: "bad" }, ` ⚠ prefers the ${one.share > 0.5 ? "first" : "second"} position`),
      ],
    }));
  if (rows.length === 0) return h("p", { class: "empty" }, "No position-bias data yet.");
  return intervals("Judge", rows, {
    ...{ unit: "prefers the response shown first, %", said: "share, 95 % interval" },
    ...SHARES,
  });
}

function lengths(judged, predicted) {
  const rows = judged
    .filter((one) => one.pairs > 0)
    .map((one) => ({
      label: bucket(one),
      value: one.longer,
      low: one.low,
      high: one.high,
      mark: one.expected,
      text: `${interval(one.longer, one.low, one.high)}, ${share(one.expected)} expected, ${counted(one.pairs, "pair")}`,
    }));
  const line = (source) => (one) => [
    `${source}, ${bucket(one)}`,
    count(one.pairs),
    interval(one.longer, one.low, one.high),
    share(one.expected),
    `${number(100 * (one.longer - one.expected), 1)} points`,
  ];
  const all = [...judged.map((one) => [line("judged"), one]), ...predicted.map((one) => [line("predicted"), one])]
    .filter(([, one]) => one.pairs > 0)
    .map(([shown, one]) => shown(one));
  if (all.length === 0) return h("p", { class: "empty" }, "No preferences between responses of unequal length yet.");
  const head = ["label, length ratio", "pairs", "longer response wins (95 % interval)", "expected", "beyond expected"];
  return [
    rows.length > 0 &&
      intervals("Length ratio", rows, { unit: "longer response wins, %", said: "share, 95 % interval", ...SHARES }),
    behind("Longer responses", head, all),
  ];
}

const bucket = ({ from, to }) => (to === null ? `over ${from} ×` : `${from} to ${to} ×`);

function policies(found) {
  if (found.length === 0) return h("p", { class: "empty" }, "No pairs yet.");
  const head = [
    ...["policy", "prompts", "pairs", "judge calls", "preferences", "predicted", "preferences per prompt"],
    ...["per judge call", "expected information per pair, bits", "ties", "inconsistent", "order flips"],
    ...["chosen ÷ rejected length", "wrong by reference"],
  ];
  const rows = found.map((one) => [
    one.name,
    ...[one.prompts, one.pairs, one.judge_calls, one.decisive, one.predicted].map(count),
    ...[one.decisive_per_prompt, one.decisive_per_call, one.bits_per_pair].map((value) => number(value)),
    ...[one.tie_share, one.inconsistent_share, one.flip_share].map((value) => share(value)),
    number(one.length_ratio),
    share(one.label_error),
  ]);
  return [
    h("div", { class: "columns" }, yields(found, "prompt"), yields(found, "call")),
    table("Policies", head, rows),
  ];
}

/** Preferences per prompt, or per judge call, of each policy. */
function yields(found, per) {
  const rows = found
    .map((one) => ({ label: one.name, value: one[`decisive_per_${per}`] }))
    .filter((one) => one.value !== null)
    .map((one) => ({ ...one, text: number(one.value) }));
  if (rows.length === 0) return null;
  const unit = per === "prompt" ? "preferences per prompt" : "preferences per judge call";
  const ends = ticks(0, Math.max(...rows.map((one) => one.value)), 4);
  return intervals("Policy", rows, { unit, said: "", ends });
}

function budget(found) {
  const rows = found.map(({ stream, pairs, judged_share, label_error: error }) => [
    stream,
    count(pairs),
    share(judged_share),
    error ? interval(error.estimate, error.low, error.high) : "unknown: no audit yet",
    error ? count(error.audited) : "0",
  ]);
  if (rows.length === 0) {
    return h("p", { class: "empty" }, "No stream has a judge budget: every pair is judged, and no label is predicted.");
  }
  const points = found
    .filter((one) => one.label_error && one.judged_share !== null)
    .map(({ stream, judged_share, label_error: { estimate, low, high } }) => ({
      ...{ label: stream, x: judged_share, y: estimate, low, high },
    }));
  const units = { xUnit: "pairs judged, %", yUnit: "wrong predicted labels, %" };
  return [
    points.length > 0 && spots("Wrong predicted labels by share of pairs judged", points, units),
    table("Judge budget", ["stream", "pairs", "judged", "wrong predicted labels", "audited pairs"], rows),
    limits(found),
  ];
}

const MOST_TAILS = 6;

/** Predicted labels with a high probability against the audit, stream by stream. */
function predictedLabels({ gate, tail_tolerance: tolerance }) {
  const shown = gate.slice(0, MOST_TAILS);
  const left = gate.length > shown.length ? ` The first ${shown.length} of ${gate.length} streams.` : "";
  const what = `Predicted labels with a probability above 80 %, against the verdicts of the audit.${left}`;
  return panel(
    "Reliability of predicted labels",
    { note: tailNote(what, tolerance) },
    shown.map(({ stream, tail: bins }) => [
      h("h3", { class: "stream-name" }, `Stream ${stream}`),
      tail(`Predicted labels of ${stream}`, bins, "audited pairs"),
    ]),
  );
}

function judges(found) {
  if (found.length === 0) return h("p", { class: "empty" }, "No verdicts yet.");
  const of = (value, number_) => (number_ ? `${share(value)} of ${count(number_)}` : share(value));
  const rows = found.map((one) => [
    one.judge,
    count(one.verdicts),
    one.failed ? h("span", { class: "bad" }, `${count(one.failed)} (${share(one.failed / one.verdicts)})`) : "0",
    of(one.flip_share, Math.round(one.both_orders)),
    share(one.first_share),
    share(one.tie_share),
    of(one.agreement, one.agreements_compared),
    of(one.label_agreement, one.label_compared),
    of(one.others_agreement, one.others_compared),
    lengthBias(one.length_bias),
    selfPreference(one.self_preference),
    ...juror(one.jury),
    count(one.tokens),
  ]);
  const head = [
    ...["judge", "verdicts", "failed", "order flips", "prefers first", "ties", "agrees with each other judge"],
    ...["with the label, own vote included", "with the label by the others alone"],
    ...["length bias, points", "own models win beyond expected, points", "weight in the label", "right", "tokens"],
  ];
  return table("Judges", head, rows);
}

const CANARY_NOTE =
  "The newest pairs whose answer is known, mixed in by canary_share: how often each judge prefers the right response, " +
  "and how often a wrong response with an attack on the judge inside wins. 95 % intervals.";

/** Each judge on pairs whose answer is known. */
function canaries(found) {
  const of = (one, name, number_) => {
    if (!number_) return "–";
    return `${share(one[name])} (${share(one[`${name}_low`])} to ${share(one[`${name}_high`])}) of ${count(number_)}`;
  };
  const rows = found.map((one) => [
    one.judge,
    of(one, "accuracy", one.clean),
    of(one, "attack_success", one.attacked),
    count(one.failed),
  ]);
  return table("Canaries", ["judge", "right about clean ones", "attacks that win", "without a valid verdict"], rows);
}

function peopleNote({ pairs, undecided, people: named, width }) {
  const who = Object.entries(named)
    .map(([name, verdicts]) => `${name} ${count(verdicts)}`)
    .join(", ");
  return (
    `${count(pairs)} pairs that people judged (${who}), ${count(undecided)} of them without a preference. ` +
    "Agreement with its 95 % interval; a calibrated judge agrees as often as it is certain. " +
    `More labels: for an interval ${share(width, 0)} wide.`
  );
}

/** How often each judge prefers what people prefer, by skill and by certainty. */
function people({ judges: found }) {
  const of = (one) => (one.pairs ? `${share(one.share)} [${share(one.low)} to ${share(one.high)}]` : "–");
  const rows = Object.entries(found).flatMap(([judge, one]) => [
    [judge, "all", count(one.pairs), of(one), count(one.ties), count(one.labels_needed)],
    ...Object.entries(one.skills).map(([skill, each]) => [judge, skill, count(each.pairs), of(each), "", ""]),
    ...one.calibration.map((each) => [
      judge,
      `${share(each.certainty)} certain`,
      count(each.pairs),
      of(each),
      "",
      "",
    ]),
  ]);
  return table("Judges and people", ["judge", "pairs of", "pairs", "agrees", "ties", "more labels"], rows);
}

/** What the word of a judge counts for, and how often it is right, with the 95 % interval. */
function juror(found) {
  if (!found) return ["–", "–"];
  const { weight, accuracy, low, high, is_anchor: isAnchor } = found;
  if (accuracy === null) return [number(weight), "–"];
  if (isAnchor) return [number(weight), h("span", { title: "Taken as given." }, share(accuracy))];
  return [number(weight), `${share(accuracy)} [${share(low)} to ${share(high)}]`];
}

/** Why biases of judges are not said, in sentences. */
function unknownOf(found) {
  const said = [];
  if (found.some((one) => one.length_bias.bias === null)) {
    said.push(
      "Length bias is confounded where neither a reference nor other judges on the same pairs tell it from quality.",
    );
  }
  for (const { judge, self_preference: own } of found.slice(0, MOST_REASONS)) {
    if (own && own.excess === null) said.push(`How far ${judge} favors its own models is unknown: ${own.unknown}.`);
  }
  return said;
}

const MOST_REASONS = 6;

const EVIDENCE = { reference: "by reference", judges: "beyond other judges" };

/** A judge's preference for length as such. */
function lengthBias({ bias, error, pairs, evidence }) {
  if (bias === null) return h("span", { title: "Nothing tells a preference for length from quality." }, "confounded");
  const line = (...parts) => h("span", { class: "line" }, ...parts);
  return [line(points(bias, error, pairs)), line(EVIDENCE[evidence])];
}

/** How much more often a judge's own models win by it than others expect; a judge without such models has none. */
function selfPreference(found) {
  if (!found) return "–";
  if (found.excess === null) return h("span", { title: found.unknown }, "unknown");
  return points(found.excess, found.error, found.verdicts);
}

/** A difference of shares in points, with its standard error. */
const points = (value, error, pairs) =>
  `${signed(100 * value, 1)} ± ${number(100 * error, 1)} of ${counted(pairs, "pair")}`;

function cost({ cost: found, stream }) {
  if (stream !== null) return h("p", { class: "empty" }, "Known for all streams together: calls are not split by stream.");
  if (found.cost === null) return h("p", { class: "empty" }, "Unknown: the pool file has no prices.");
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
      ["Cost per preference", money(found.cost_per_preference, found.currency), spentNote(found)],
    ]),
    table("Cost", ["name", "kind", "calls", "input tokens", "output tokens", "cost"], rows, { texts: [1] }),
  ];
}

const MOST_NAMES = 3;

/** What a cost leaves out, by name. */
export function spentNote({ cost, cost_excludes: excluded = [], cost_unknown_calls }) {
  if (cost === null) return "no prices in the pool file";
  if (excluded.length > 0) {
    const more = excluded.length > MOST_NAMES ? ` and ${excluded.length - MOST_NAMES} more` : "";
    const calls = cost_unknown_calls ? `${counted(cost_unknown_calls, "call")} of ` : "";
    return `without ${calls}${excluded.slice(0, MOST_NAMES).join(", ")}${more} (no price or no token counts)`;
  }
  return cost_unknown_calls ? `without ${counted(cost_unknown_calls, "call")} of unknown cost` : "all calls";
}

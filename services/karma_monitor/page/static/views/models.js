/** The models: leaderboard with intervals, ratings over time, kinship, wins, calibration. */

import { get, queryOf } from "../api.js";
import { MOST_LINES, TimeChart } from "../chart.js";
import { h, render } from "../dom.js";
import { count, counted, date, lastPairs, number, share, signed, span } from "../format.js";
import { intervals } from "../intervals.js";
import { DIVERGING, legend, matrix, SEQUENTIAL } from "../matrix.js";
import { behind, choice, empty, panel, table } from "../panels.js";
import { against } from "../plot.js";
import { tail, tailNote } from "./tails.js";
import uPlot from "../vendor/uPlot/uPlot.esm.js";

export const title = () => "Models";

const EVERY_S = 15;
const MOST_NAMED = 5; // models of a group

export function open(root, context) {
  const [head, body, history, tail] = [h("div"), h("div"), h("div"), h("div")];
  root.append(h("div", { class: "title" }, h("h1", {}, "Models"), head), body, history, tail);
  const skill = context.query.get("skill") ?? "";
  let chart = null;
  context.onClose(() => chart?.close());
  const pick = (event) => context.go(`/models${queryOf({ skill: event.target.value })}`, { replace: true });

  return context.every(EVERY_S, async () => {
    const found = await get("/api/models", { skill });
    if (context.left) return;
    if (head.childElementCount === 0 && found.skills.length > 1) {
      const options = found.skills.map((name) => [name, name]);
      head.append(
        h("form", { class: "filters", on: { change: pick } }, choice("Skill", "skill", found.skill, options)),
      );
    }
    render(body, leaderboard(found));
    chart = showHistory(history, found.course, chart);
    render(
      tail,
      found.models.length
        ? [
            h("div", { class: "flow" }, kinship(found), calibration(found)),
            winTail(found),
            commonChanges(found),
            misfit(found),
            wins(found),
          ]
        : [],
    );
  });
}

/** The leaderboard, best first; only the first `most` models where a link leads to `more`. */
export function leaderboard({ models, models_known: known, groups, skill, version, win_tail: bins }, most = Infinity, more = null) {
  const name = more ? "Models" : "Leaderboard";
  if (models.length === 0) {
    return panel(name, { more }, empty("No ratings yet: no pair has been judged.", "karma enqueue FILE"));
  }
  const rows = models.slice(0, most).map((model) => ({
    label: [model.model, model.preliminary && h("span", { class: "preliminary" }, " preliminary")],
    value: model.mean,
    low: model.low,
    high: model.high,
    faint: model.preliminary,
    text: `${signed(model.mean)} (${signed(model.low)} to ${signed(model.high)})`,
  }));
  const left = known > rows.length ? ` ${rows.length} of ${count(known)} models.` : "";
  const note = `Skill ${skill}, 90 % intervals. Ratings version ${version ?? "–"}.${left}`;
  const picture = intervals("Model", rows, {
    unit: "competency, logits",
    said: "logits, 90 % interval",
    rule: 0,
  });
  return panel(name, { note, more }, apart(groups), picture, more ? null : ratings(models, bins));
}

/** A sentence where groups of models were never compared with each other. */
function apart(groups) {
  if (groups.length === 0) return null;
  const what = `No verdict connects these ${groups.length} groups of models, so the gaps between them are unknown:`;
  return h(
    "div",
    { class: "note", role: "note" },
    h("p", {}, what),
    h(
      "ul",
      { class: "groups" },
      groups.map((group) => h("li", {}, `${counted(group.length, "model")}: ${listed(group, MOST_NAMED)}`)),
    ),
    h("p", {}, "Verdicts on pairs across the groups would tell."),
  );
}

function listed(names, most) {
  const left = names.length > most ? ` and ${names.length - most} more` : "";
  return `${names.slice(0, most).join(", ")}${left}`;
}

function ratings(models, bins) {
  const rows = models.map((model, place) => [
    model.model,
    ...[model.mean, model.low, model.high].map((value) => signed(value)),
    model.beats_next === null && place === models.length - 1 ? "–" : winsWith(model.beats_next, bins),
    count(Math.round(model.comparisons)),
    model.preliminary ? "preliminary" : "",
    model.kin ?? (model.kinship === null ? "unknown" : "none"),
    number(model.kinship),
    signed(model.change),
    span(model.change_s),
  ]);
  const head = [
    ...["model", "logits", "90 % from", "to", "P(beats the next)", "comparisons", "", "nearest kin", "kinship"],
    ...["change", "within"],
  ];
  return behind("The leaderboard", head, rows, { texts: [6, 7] });
}

/** A win probability, with the state of its range where it is not known to hold. */
function winsWith(value, bins) {
  if (value === null) return "unknown";
  const ahead = Math.max(value, 1 - value);
  const range = bins.find(({ low, high }) => ahead >= low && (ahead < high || high === 1));
  const remark = range && range.state !== "reliable" ? ` (${range.state})` : "";
  return `${share(value, ahead > 0.99 ? 2 : 0)}${remark}`;
}

function kinship({ kinship: { names, cells, shared, needed }, misfit: { pairs }, skill, models }) {
  if (names.length < 2) return panel("Kinship", {}, h("p", { class: "empty" }, "Needs two models."));
  const shown = (row, column) => number(cells[row][column]);
  const misfits = new Set(pairs.flatMap(({ model_a: a, model_b: b }) => [`${a}\n${b}`, `${b}\n${a}`]));
  const unknown = (row, column) => {
    if (misfits.has(`${names[row]}\n${names[column]}`)) return "misfit";
    const found = Math.floor(shared[row][column]);
    return found < needed ? `${found}/${needed}` : "unknown";
  };
  const hatched =
    `Hatched: unknown, with the shared verdicts so far of at least ${needed} needed` +
    (misfits.size > 0 ? "; misfit: their verdicts contradict their competencies (below)." : ".");
  return panel(
    "Kinship",
    { note: `Probability that two models are about equally competent, skill ${skill}.${thinned(names, models)}` },
    matrix("Kinship", names, cells, SEQUENTIAL, shown, unknown),
    legend(SEQUENTIAL, "0", hatched, "1"),
  );
}

/** Changes of all competencies at once; nothing where there is none. */
function commonChanges({ common_changes: changes }) {
  if (changes.length === 0) return null;
  const note = "Verdicts since then differ from those before, but not by one model: no model is held to have changed.";
  const rows = changes.map(({ at, cause, log_bayes_factor: factor }) => [
    date(at),
    h("span", { class: "reason" }, cause),
    number(factor, 1),
  ]);
  const head = ["since", "cause", "log Bayes factor against no change"];
  return panel("Common changes", { note }, table("Common changes", head, rows, { texts: [1] }));
}

/** Pairs of models whose verdicts one competency per model cannot explain; nothing where there is none. */
function misfit({ misfit: { pairs } }) {
  if (pairs.length === 0) return null;
  const note =
    `${counted(pairs.length, "pair")} of models whose verdicts contradict their competencies: ` +
    "kinship is unknown, and the gap uncertain.";
  const rows = pairs.map((pair) => [
    pair.model_a,
    pair.model_b,
    share(pair.observed, 0),
    share(pair.expected, 0),
    signed(pair.z),
  ]);
  const head = ["model", "against", "won", "expected", "difference, standard deviations"];
  return panel("Misfit", { note }, table("Misfit pairs", head, rows, { texts: [1] }));
}

function thinned(names, models) {
  return names.length < models.length ? ` ${names.length} of ${models.length} models, evenly spread.` : "";
}

function wins({ wins: { names, cells, counts, is_of_report: ofReport } }) {
  if (names.length < 2)
    return panel("Wins", {}, h("p", { class: "empty" }, "No decisive verdicts between two models yet."));
  const most = Math.max(...counts.flat(), 1);
  const shares = counts.map((line) => line.map((found) => (found ? found / most : null)));
  const pairs = ofReport ? "all decisive judged pairs of this report" : "decisive judged pairs behind the ratings";
  return panel(
    "Wins",
    { note: `Share of ${pairs} that the row's model won against the column's, and the number of pairs.` },
    h(
      "div",
      { class: "columns" },
      h(
        "div",
        {},
        matrix("Share won", names, cells, DIVERGING, (row, column) => number(cells[row][column])),
        legend(DIVERGING, "0 loses", "Hatched: no pairs.", "1 wins"),
      ),
      h(
        "div",
        {},
        matrix("Pairs", names, shares, SEQUENTIAL, (row, column) => count(counts[row][column])),
        legend(SEQUENTIAL, "1", null, count(most)),
      ),
    ),
  );
}

function calibration({ calibration: found, calibration_window: window }) {
  const name = "Predicted against actual";
  if (found.length === 0) return panel(name, {}, h("p", { class: "empty" }, "No judged pairs with a prediction yet."));
  const points = found.map(({ predicted, actual, n }) => ({ x: predicted, y: actual, n }));
  const units = { xUnit: "predicted win probability, %", yUnit: "won, %", noun: "pairs" };
  const note = `Judged preferences among the ${lastPairs(window)}. On the line, predictions are exact; larger dots are more pairs.`;
  return panel(name, { note }, against("Win rate", points, units));
}

/** Win probabilities above 80 % against the verdicts that the ratings are fitted to. */
function winTail({ win_tail: bins, tail_tolerance: tolerance }) {
  const what = "Win probabilities by competency above 80 %, of all skills, against the verdicts behind the ratings.";
  const note = tailNote(what, tolerance);
  return panel("Reliability of win probabilities", { note }, tail("Win probabilities", bins, "verdicts"));
}

/** Draw the ratings over time; the chart is made anew only where it shows other models. */
function showHistory(root, found, chart) {
  const moved = found.filter((one) => one.points.length > 1);
  const shown = moved.slice(0, MOST_LINES);
  if (shown.length === 0) {
    render(root, found.length ? panel("Ratings over time", {}, empty("Needs two refits.")) : []);
    return null;
  }
  const names = shown.map((one) => one.model);
  if (chart === null || names.join("\n") !== chart.names.join("\n")) {
    chart?.close();
    chart = new TimeChart("Ratings over time", names, "competency, logits");
    const note = shown.length < moved.length ? `The first ${shown.length} of ${moved.length} models.` : null;
    root.replaceChildren(panel("Ratings over time", { note }, chart.element, h("div")));
  }
  const columns = shown.map(({ points }) => [points.map(([at]) => at), points.map(([, mean]) => mean)]);
  chart.show(
    uPlot.join(columns),
    shown.map(({ points }) => signed(points.at(-1)[1])),
  );
  const rows = shown.flatMap(({ model, points }) =>
    points.slice(-5).map(([at, mean]) => [model, date(at), signed(mean)]),
  );
  render(
    root.querySelector("section > div:last-child"),
    behind("The last ratings", ["model", "time", "logits"], rows, { texts: [1] }),
  );
  return chart;
}

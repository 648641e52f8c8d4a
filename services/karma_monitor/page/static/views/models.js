/** What each model is worth: the ladder with intervals, who is comparable to whom, who beats whom, and the course. */

import { get, queryOf } from "../api.js";
import { MOST_LINES, TimeChart } from "../chart.js";
import { h, render } from "../dom.js";
import { count, date, number, share, signed, span } from "../format.js";
import { intervals } from "../intervals.js";
import { DIVERGING, legend, matrix, SEQUENTIAL } from "../matrix.js";
import { behind, choice, empty, panel } from "../panels.js";
import { against } from "../plot.js";
import uPlot from "../vendor/uPlot/uPlot.esm.js";

export const title = () => "Models";

const EVERY_S = 15;

export function open(root, context) {
  const [head, body, course, tail] = [h("div"), h("div"), h("div"), h("div")];
  root.append(h("div", { class: "title" }, h("h1", {}, "Models"), head), body, course, tail);
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
    render(body, ladder(found));
    chart = showCourse(course, found.course, chart);
    render(
      tail,
      found.models.length ? [h("div", { class: "flow" }, kinship(found), calibration(found)), wins(found)] : [],
    );
  });
}

/** The ladder, best first; only so many models where there is `more`. */
export function ladder({ models, skill, version }, most = Infinity, more = null) {
  const name = more ? "Models" : "Competency";
  if (models.length === 0) {
    return panel(name, { more }, empty("Nothing was learnt yet: no pair has been judged.", "karma enqueue FILE"));
  }
  const rows = models.slice(0, most).map((model) => ({
    label: [model.model, model.preliminary && h("span", { class: "preliminary" }, " preliminary")],
    value: model.mean,
    low: model.low,
    high: model.high,
    faint: model.preliminary,
    text: `${signed(model.mean)} (${signed(model.low)} to ${signed(model.high)})`,
  }));
  const left = models.length > rows.length ? ` ${rows.length} of ${models.length} models.` : "";
  const note = `Skill ${skill}, with 90 % intervals; version ${version ?? "–"} of the competencies.${left}`;
  const picture = intervals("Model", rows, {
    unit: "competency, logits",
    said: "logits, 90 % interval",
    rule: 0,
    show: tick,
  });
  return panel(name, { note, more }, picture, more ? null : standings(models));
}

const tick = (value) => String(value).replace("-", "−");

function standings(models) {
  const rows = models.map((model, place) => [
    model.model,
    ...[model.mean, model.low, model.high].map((value) => signed(value)),
    share(beatsNext(models, place), 0),
    count(Math.round(model.comparisons)),
    model.preliminary ? "preliminary" : "",
    model.kin ?? "–",
    number(model.kinship),
    signed(model.change),
    span(model.change_s),
  ]);
  const head = [
    ...["model", "logits", "90 % from", "to", "P(beats the next)", "comparisons", "", "nearest kin", "kinship"],
    ...["change", "within"],
  ];
  return behind("The ladder", head, rows, { texts: [6, 7] });
}

/** The chance of a decisive win against the model below: Bradley and Terry (1952) on the two means. */
function beatsNext(models, place) {
  const next = models[place + 1];
  return next === undefined ? null : 1 / (1 + Math.exp(next.mean - models[place].mean));
}

function kinship({ kinship: { names, cells }, skill }) {
  if (names.length < 2)
    return panel("Kinship", {}, h("p", { class: "empty" }, "It needs two models that were compared."));
  return panel(
    "Kinship",
    { note: `The chance that two models are about equally competent, in the skill ${skill}.` },
    matrix("Kinship", names, cells, SEQUENTIAL, (row, column) => number(cells[row][column])),
    legend(SEQUENTIAL, "0", "Hatched: not known yet.", "1"),
  );
}

function wins({ wins: { names, cells, counts } }) {
  if (names.length < 2)
    return panel("Wins", {}, h("p", { class: "empty" }, "No decisive verdict between two models yet."));
  const most = Math.max(...counts.flat(), 1);
  const shares = counts.map((line) => line.map((found) => (found ? found / most : null)));
  return panel(
    "Wins",
    { note: "Share of decisive judged pairs that the row's model won against the column's, and of how many pairs." },
    h(
      "div",
      { class: "columns" },
      h(
        "div",
        {},
        matrix("Share won", names, cells, DIVERGING, (row, column) => number(cells[row][column])),
        legend(DIVERGING, "0 loses", "Hatched: they never met.", "1 wins"),
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

function calibration({ calibration: found }) {
  if (found.length === 0)
    return panel("Predicted against actual", {}, h("p", { class: "empty" }, "No judged pair had a prediction yet."));
  const points = found.map(({ predicted, actual, n }) => ({ x: predicted, y: actual, n }));
  const units = { xUnit: "predicted chance of winning, %", yUnit: "won, %", noun: "pairs" };
  return panel(
    "Predicted against actual",
    { note: "On the line, what was predicted is what happened; larger dots stand for more pairs." },
    against("Win rate", points, units),
  );
}

/** Draw the course; the chart is made anew only where other models are in it. */
function showCourse(place, found, chart) {
  const moved = found.filter((one) => one.points.length > 1);
  const shown = moved.slice(0, MOST_LINES);
  if (shown.length === 0) {
    render(place, found.length ? panel("Course", {}, empty("It appears once there are two refits.")) : []);
    return null;
  }
  const names = shown.map((one) => one.model);
  if (chart === null || names.join("\n") !== chart.names.join("\n")) {
    chart?.close();
    chart = new TimeChart("Competency over time", names, "competency, logits");
    const most = shown.length < moved.length ? `: the first ${shown.length} of ${moved.length} models` : "";
    const note = `Competency over time${most}.`;
    place.replaceChildren(panel("Course", { note }, chart.element, h("div")));
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
    place.querySelector("section > div:last-child"),
    behind("The course", ["model", "time", "logits"], rows, { texts: [1] }),
  );
  return chart;
}

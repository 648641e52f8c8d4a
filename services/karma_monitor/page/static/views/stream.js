/** The stream: what comes out, where prompts are lost, how fast it flows, what is stuck. */

import { get } from "../api.js";
import { TimeChart } from "../chart.js";
import { h, render } from "../dom.js";
import { clock, count, money, number, rate, share, span } from "../format.js";
import { empty, panel, table, tiles } from "../panels.js";
import { rates, RATES } from "../rates.js";
import { control } from "./control.js";
import { endpointTable } from "./endpoints.js";
import { funnel } from "./funnel.js";
import { ladder } from "./models.js";
import { liveQuality, spentNote } from "./quality.js";
import { queueTable, workerTable } from "./workers.js";

export const title = () => "Stream";

const MODELS_EVERY_S = 30;
const SPAN_S = 300;

export function open(root, context) {
  const part = () => h("div");
  const [top, middle, quality, models, bottom] = [part(), part(), part(), part(), part()];
  const chart = new TimeChart("Rates of the last five minutes", Object.values(RATES), "a second", {
    span_s: SPAN_S,
    fromZero: true,
  });
  const figures = h("div", { class: "wide-behind" });
  const folded = h(
    "details",
    { on: { toggle: () => showFigures(folded, figures) } },
    h("summary", {}, "Rates as a table"),
    figures,
  );
  const flow = panel("Rates", {}, chart.element, folded);
  root.append(
    h("div", { class: "title" }, h("h1", {}, "Stream"), control(context)),
    top,
    h("div", { class: "columns" }, middle, flow),
    quality,
    models,
    bottom,
  );
  context.onClose(() => chart.close());

  context.listen((picture) => {
    render(top, tiles(outcomeTiles(picture)));
    render(middle, funnel(picture));
    chart.show(
      rates.data,
      Object.keys(RATES).map((name) => rate(picture.rates[name])),
    );
    showFigures(folded, figures);
    render(quality, liveQuality(picture.quality, true));
    render(bottom, lower(picture));
  });
  context.every(MODELS_EVERY_S, async () => {
    const found = await get("/api/models");
    if (!context.left) render(models, ladder(found, 12, { href: "/models", text: "Models in full" }));
  });
}

function outcomeTiles({ outcome, preferences, resolutions, states }) {
  const accepted = Object.values(states).reduce((sum, one) => sum + one, 0);
  const predicted = preferences.predicted ? `, ${count(preferences.predicted)} of them predicted` : "";
  return [
    [
      "Preferences a minute",
      rate(outcome.preferences_per_min, "/min"),
      `${count(outcome.preferences)} in all${predicted}`,
    ],
    [
      "Yield",
      number(outcome.yield),
      `decisive pairs a prompt; ${count(states.done + states.dead)} of ${count(accepted)} ended`,
    ],
    [
      "Cost of a preference",
      money(outcome.cost_per_preference, outcome.currency),
      `${money(outcome.cost, outcome.currency)} ${spentNote(outcome)}`,
    ],
    ["Time left", span(outcome.time_left_s), "at the present rate"],
    [
      "Budget left",
      share(outcome.budget_left),
      outcome.budget_left === null ? "no limit of calls an hour" : "of the hour's judge calls",
    ],
    ["Without a preference", count(lost(resolutions, states)), "ties, contradictions, failures, dead"],
  ];
}

function lost(resolutions, states) {
  return resolutions.tie + resolutions.inconsistent + resolutions.unscored + resolutions.no_pair + states.dead;
}

function lower(picture) {
  return [
    panel("Endpoints", { more: { href: "/endpoints", text: "Endpoints in full" } }, endpointTable(picture.endpoints)),
    panel("Queues", { note: queueNote(picture) }, queueTable(picture.queues)),
    panel("Workers", {}, workerTable(picture.workers)),
  ];
}

function queueNote({ in_flight, redelivered }) {
  return `${count(in_flight)} prompts in flight; ${count(redelivered)} messages delivered again.`;
}

/** The newest rates as a table, made only while it is unfolded. */
function showFigures(folded, figures) {
  if (!folded.open) return;
  const rows = rates.newest(20).map(([at, ...values]) => [clock(at), ...values.map((value) => rate(value))]);
  const shown = rows.length ? table("Rates", ["time", ...Object.values(RATES)], rows) : empty("No rates yet.");
  render(figures, shown);
}

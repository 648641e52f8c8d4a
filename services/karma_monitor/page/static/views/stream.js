/** The stream: its outcome, losses by stage, rates, queues and workers. */

import { get } from "../api.js";
import { TimeChart } from "../chart.js";
import { h, render } from "../dom.js";
import { clock, count, counted, money, number, rate, span } from "../format.js";
import { empty, panel, table, tiles } from "../panels.js";
import { rates, RATES } from "../rates.js";
import { control } from "./control.js";
import { endpointTable, windowOf } from "./endpoints.js";
import { funnel } from "./funnel.js";
import { leaderboard } from "./models.js";
import { liveQuality, spentNote } from "./quality.js";
import { queueTable, workerTable } from "./workers.js";

export const title = () => "Stream";

const MODELS_EVERY_S = 30;
const SPAN_S = 300;

export function open(root, context) {
  const part = () => h("div");
  const [top, middle, quality, models, bottom] = [part(), part(), part(), part(), part()];
  const chart = new TimeChart("Rates of the last five minutes", Object.values(RATES), "per second", {
    span_s: SPAN_S,
    fromZero: true,
  });
  const figures = h("div", { class: "wide-behind" });
  const details = h(
    "details",
    { on: { toggle: () => showFigures(details, figures) } },
    h("summary", {}, "Rates as a table"),
    figures,
  );
  const flow = panel("Rates", { note: "Last five minutes." }, chart.element, details);
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
    showFigures(details, figures);
    render(quality, liveQuality(picture.quality, true));
    render(bottom, lower(picture));
  });
  context.every(MODELS_EVERY_S, async () => {
    const found = await get("/api/models");
    if (!context.left) render(models, leaderboard(found, 12, { href: "/models", text: "All model statistics" }));
  });
}

/** The figures of the outcome; a report leaves out those of a running stream. */
export function outcomeTiles({ outcome, preferences, resolutions, states, budgets = {} }, isReport = false) {
  const accepted = Object.values(states).reduce((sum, one) => sum + one, 0);
  const predicted = preferences.predicted ? `, ${count(preferences.predicted)} predicted` : "";
  const total = `${count(outcome.preferences)} in total${predicted}`;
  const running = [
    ["Time left", span(outcome.time_left_s), "at the current rate"],
    ["Judge calls, last hour", ...hourlyCalls(outcome.judge_calls)],
  ];
  return [
    isReport
      ? ["Preferences", count(outcome.preferences), preferences.predicted ? predicted.slice(2) : "all judged"]
      : ["Preferences per minute", rate(outcome.preferences_per_min, "/min"), total],
    [
      "Yield",
      number(outcome.preferences_per_prompt ?? outcome.yield),
      `preferences per prompt; ${count(states.done + states.dead)} of ${count(accepted)} finished`,
    ],
    [
      "Cost per preference",
      money(outcome.cost_per_preference, outcome.currency),
      outcome.cost === null ? spentNote(outcome) : `${money(outcome.cost, outcome.currency)}, ${spentNote(outcome)}`,
    ],
    ...Object.entries(budgets).map(([name, one]) => budgetTile(name, one, outcome.currency)),
    ...(isReport ? [] : running),
    ["Lost", ...lost(resolutions, states)],
  ];
}

/** What is spent of a stream's budget; that of a day where it has no other, or waits for the next day. */
function budgetTile(name, found, currency) {
  const waitsForDay = found.waits && found.budget_usd_per_day !== null && found.spent_usd < found.budget_usd;
  const ofDay = found.budget_usd === null || waitsForDay;
  const [spent, most] = ofDay
    ? [found.spent_today_usd, found.budget_usd_per_day]
    : [found.spent_usd, found.budget_usd];
  const of = name === "*" ? "all streams" : name;
  const note = `${of}${ofDay ? ", today (UTC)" : ""}${found.waits ? `; waits for a higher budget${ofDay ? " or the next day" : ""}` : ""}`;
  return ["Budget", `${money(spent, currency)} of ${money(most, currency)}`, note];
}

/** The judge calls of the last 60 minutes against their hourly limit; streams have a limit each. */
function hourlyCalls(found) {
  if (!found) return ["–", "no hourly limit"];
  if (found.streams === 0) return ["–", "no pair of a stream with an hourly limit yet"];
  const of = found.streams > 1 ? `the limits of ${found.streams} streams, summed up` : "the hourly limit";
  return [`${count(found.calls_last_hour)} of ${count(found.calls_per_hour)}`, `of the last 60 minutes; ${of}`];
}

/** Pairs and prompts without a preference; they are different units, so they are not added up. */
function lost(resolutions, states) {
  const pairs = resolutions.tie + resolutions.inconsistent + resolutions.unscored;
  const prompts = `${counted(resolutions.no_pair, "prompt")} without a pair, ${count(states.dead)} dead`;
  return [counted(pairs, "pair"), `ties, inconsistent, unscored; and ${prompts}`];
}

function lower(picture) {
  return [
    panel("Endpoints", { note: callsNote(picture), more: ENDPOINTS }, endpointTable(picture.endpoints)),
    panel("Queues", { note: queueNote(picture) }, queueTable(picture.queues)),
    panel("Workers", {}, workerTable(picture.workers)),
  ];
}

function queueNote({ in_flight, redelivered }) {
  return `${counted(in_flight, "prompt")} in flight; ${count(redelivered)} batches redelivered.`;
}

const ENDPOINTS = { href: "/endpoints", text: "Failures by reason" };

function callsNote({ endpoints }) {
  const of = (kind) => windowOf(endpoints.filter((one) => one.kind === kind), `${kind}s`);
  return `${of("model")} ${of("judge")}`;
}

/** The newest rates as a table, made only while it is open. */
function showFigures(details, figures) {
  if (!details.open) return;
  const rows = rates.newest(20).map(([at, ...values]) => [clock(at), ...values.map((value) => rate(value))]);
  const shown = rows.length ? table("Rates", ["time", ...Object.values(RATES)], rows) : empty("No rates yet.");
  render(figures, shown);
}

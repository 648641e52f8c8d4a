/** Models and judges as endpoints: calls, failures, latencies. */

import { get } from "../api.js";
import { h, render } from "../dom.js";
import { count, counted, rate, share, span } from "../format.js";
import { empty, panel, table } from "../panels.js";
import { failurePanels } from "./failures.js";

export const title = () => "Endpoints";

const EVERY_S = 15;

export function open(root, context) {
  const [calls, failures] = [h("div"), h("div")];
  root.append(h("h1", {}, "Endpoints"), calls, failures);
  context.listen(({ endpoints, endpoints_left_out: left }) => {
    const models = endpoints.filter((one) => one.kind === "model");
    const judges = endpoints.filter((one) => one.kind === "judge");
    render(
      calls,
      panel("Models", { note: `${windowOf(models, "models")} ${NOTE}${left ? ` ${count(left)} more are left out.` : ""}` }, endpointTable(models)),
      panel("Judges", { note: windowOf(judges, "judges") }, endpointTable(judges)),
    );
  });
  return context.every(EVERY_S, async () => {
    const found = await get("/api/failures");
    if (!context.left) render(failures, failurePanels(found));
  });
}

const NOTE = "p50 and p95: half and 95 % of the calls took at most so long.";

/** The window of the newest calls: all models share one, and so do all judges. */
export function windowOf(endpoints, noun) {
  const calls = endpoints.reduce((sum, one) => sum + one.calls, 0);
  const window_s = Math.max(...endpoints.map((one) => one.window_s ?? 0), 0);
  return `Last ${counted(calls, "call")} of all ${noun}${window_s ? `, within ${span(window_s)}` : ""}.`;
}

export function endpointTable(endpoints) {
  if (endpoints.length === 0) return empty("The pool file names none.", "karma doctor");
  const rows = endpoints.map((one) => [
    named(one),
    one.kind,
    count(one.calls),
    one.calls ? failedShare(one) : "–",
    span(one.p50_s),
    span(one.p95_s),
    rate(one.tokens_per_s, "tokens/s"),
    count(one.open),
    limits(one.limits),
    reasons(one.failures),
  ]);
  const head = ["name", "kind", "calls", "failed", "p50", "p95", "output", "pending", "limits", "failures by reason"];
  return table("Endpoints", head, rows, { texts: [1, 8, 9] });
}

/** Whether the endpoint is called, calls at once, and calls per minute. */
function limits(found) {
  if (!found) return "–";
  const parts = [];
  if (found.breaker !== "closed") {
    const next = found.probe_in_s ? `tries again in ${span(found.probe_in_s)}` : "tries again now";
    parts.push(h("span", { class: "chip bad" }, `not called since ${span(found.open_s)}: ${found.reason}; ${next}`));
  }
  if (found.concurrency !== null) {
    const waiting = found.waiting ? `, ${count(found.waiting)} waiting` : "";
    parts.push(h("span", { class: "chip" }, `${count(found.in_progress)} of ${count(found.concurrency)} at once${waiting}`));
  }
  if (found.batch_jobs) {
    const { jobs, requests, gathered } = found.batch_jobs;
    const said = jobs ? `${count(jobs)} batch jobs, ${count(requests)} requests` : `${count(gathered)} requests for a batch job`;
    parts.push(h("span", { class: "chip" }, said));
  }
  if (found.requests_per_minute !== null) parts.push(h("span", { class: "chip" }, `${count(found.requests_per_minute)}/min`));
  if (found.tokens_per_minute !== null) parts.push(h("span", { class: "chip" }, `${count(found.tokens_per_minute)} tokens/min`));
  if (found.learned_per_minute !== null) {
    parts.push(h("span", { class: "chip" }, `about ${count(Math.round(found.learned_per_minute))}/min by 429`));
  }
  if (found.blocked_s) parts.push(h("span", { class: "chip bad" }, `waits ${span(found.blocked_s)} after 429`));
  return parts.length ? h("div", { class: "chips" }, parts) : "–";
}

/** The name, and the settings that the endpoint refused. */
function named({ name, dropped }) {
  const settings = Object.keys(dropped ?? {}).sort();
  if (settings.length === 0) return name;
  return h("span", {}, name, " ", h("span", { class: "chip" }, `${settings.join(", ")} left out`));
}

function failedShare({ failed, calls }) {
  const text = `${count(failed)} (${share(failed / calls)})`;
  return failed ? h("span", { class: "bad" }, text) : text;
}

function reasons(failures) {
  const found = Object.entries(failures ?? {}).sort((one, other) => other[1] - one[1]);
  if (found.length === 0) return "–";
  return h(
    "div",
    { class: "chips" },
    found.map(([reason, times]) => h("span", { class: "chip" }, `${count(times)} `, reason)),
  );
}

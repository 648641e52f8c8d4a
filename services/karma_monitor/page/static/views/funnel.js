/** From prompts to preferences: the count at each stage and the losses on the way, each with its reason. */

import { h } from "../dom.js";
import { count, counted, share } from "../format.js";
import { empty, panel } from "../panels.js";

/** Stage → the unit that its losses are a share of. Stages have different units, so each bar has a scale of its own. */
const UNITS = {
  prompts: "prompts",
  responses: "responses",
  pairs: "finished prompts have a pair",
  verdicts: "verdicts",
  preferences: "resolved pairs",
};

export function funnel({ funnel: stages }) {
  if (!stages.some((stage) => stage.count > 0)) {
    return panel("Funnel", {}, empty("No prompts accepted yet.", "karma enqueue FILE"));
  }
  return panel(
    "Funnel",
    { note: "Losses by stage; click one for examples. A bar is the share kept at its stage." },
    h("ol", { class: "funnel" }, stages.map(row)),
  );
}

function row({ stage, count: number, of, losses }) {
  const lost = losses.reduce((sum, one) => sum + one.count, 0);
  const kept = of > 0 ? Math.max(0, 1 - lost / of) : null;
  return h(
    "li",
    {},
    h("span", { class: "stage" }, stage),
    h(
      "span",
      { class: "track", "aria-hidden": "true" },
      kept !== null && h("span", { class: "fill", vars: { "--share": kept } }),
    ),
    h("span", { class: "figure" }, count(number)),
    h(
      "ul",
      { class: "losses" },
      kept !== null && h("li", { class: "note" }, `${share(kept)} of ${count(of)} ${UNITS[stage] ?? stage}`),
      losses.map((one) => h("li", {}, loss(one, of))),
    ),
  );
}

function loss({ reason, count: lost, link }, of) {
  const name = reason === "tie" ? counted(lost, reason) : `${count(lost)} ${reason}`;
  const text = [name, h("span", { class: "note" }, of ? ` ${share(lost / of)}` : "")];
  return link === null ? h("span", { class: "chip" }, text) : h("a", { class: "chip", href: link }, text);
}

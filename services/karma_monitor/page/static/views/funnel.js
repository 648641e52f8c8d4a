/** From prompts to preferences: what each stage holds and what is lost before the next, each loss by its reason. */

import { h } from "../dom.js";
import { count, share } from "../format.js";
import { empty, panel } from "../panels.js";

export function funnel({ funnel: stages }) {
  const most = Math.max(...stages.map((stage) => stage.count), 1);
  if (!stages.some((stage) => stage.count > 0)) {
    return panel("Funnel", {}, empty("No prompt was accepted yet.", "karma enqueue FILE"));
  }
  return panel(
    "Funnel",
    { note: "What is lost is named where it is lost; a reason leads to examples." },
    h(
      "ol",
      { class: "funnel" },
      stages.map((stage) => row(stage, most)),
    ),
  );
}

function row(stage, most) {
  return h(
    "li",
    {},
    h("span", { class: "stage" }, stage.stage),
    h(
      "span",
      { class: "track", "aria-hidden": "true" },
      h("span", { class: "fill", vars: { "--share": stage.count / most } }),
    ),
    h("span", { class: "figure" }, count(stage.count)),
    stage.losses.length > 0 &&
      h(
        "ul",
        { class: "losses" },
        stage.losses.map((one) => h("li", {}, loss(one, stage.of))),
      ),
  );
}

function loss({ reason, count: lost, link }, of) {
  const text = [`${count(lost)} `, reason, h("span", { class: "note" }, of ? ` ${share(lost / of)}` : "")];
  return link === null ? h("span", { class: "chip" }, text) : h("a", { class: "chip", href: link }, text);
}

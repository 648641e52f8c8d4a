/** The two responses side by side, as the judges saw them or as they are exported, with their differences marked. */

import { wordDiff, MOST_WORDS } from "../diff.js";
import { h } from "../dom.js";
import { count, counted, number } from "../format.js";
import { revealed } from "./reveal.js";

/** @param {{diff: boolean, swapped: boolean, exported: ?boolean}} state how they are shown */
export function responses(facts, state) {
  const sides = state.exported
    ? exportedOrder(facts)
    : [
        ["a", "Response a"],
        ["b", "Response b"],
      ];
  if (state.swapped) sides.reverse();
  const texts = { a: facts.responses.a.text ?? "", b: facts.responses.b.text ?? "" };
  const compared = state.diff ? wordDiff(texts.a, texts.b) : null;
  const shown = sides.map(([side, name]) =>
    response(facts, side, name, compared?.[side] ?? [{ text: texts[side], own: false }]),
  );
  return h(
    "section",
    { "aria-label": "Responses" },
    compared && h("p", { class: "note" }, legend(compared)),
    h("div", { class: "sides" }, shown),
  );
}

function exportedOrder({ resolution }) {
  const chosen = resolution.chosen;
  return [
    [chosen, "Chosen"],
    [chosen === "a" ? "b" : "a", "Rejected"],
  ];
}

function legend({ bounded }) {
  const most = bounded ? ` Only the first ${count(MOST_WORDS)} words after the common beginning are compared.` : "";
  return [h("mark", { class: "own" }, "Marked"), ` words are not in the other response.${most}`];
}

function response({ responses: both, resolution }, side, name, runs) {
  const { model, sample, quality, text } = both[side];
  const chosen = resolution?.chosen === side;
  const figures = [
    counted([...(text ?? "")].length, "character"),
    sample ? `sample ${sample + 1}` : null,
    quality === null ? null : `quality ${number(quality)}`,
  ];
  return h(
    "article",
    { class: chosen ? "side chosen" : "side" },
    h(
      "header",
      {},
      h("h2", {}, name, chosen && h("span", { class: "chosen-mark" }, " ✓ chosen")),
      h(
        "p",
        { class: "note" },
        revealed() ? h("strong", {}, model) : "model hidden",
        " · ",
        figures.filter(Boolean).join(" · "),
      ),
    ),
    text === null
      ? h("p", { class: "empty" }, "No text stored.")
      : h(
          "p",
          { class: "said", dir: "auto" },
          runs.map((run) => (run.own ? h("mark", { class: "own" }, run.text) : run.text)),
        ),
  );
}

/** Filters of pairs. They are part of the address, so that a filtered list can be shared and a pair keeps its list. */

import { h } from "../dom.js";
import { choice, entry, OUTCOMES } from "../panels.js";

export const FILTERS = ["stream", "outcome", "model", "judge", "policy", "source", "text"];

/** The filters that an address sets. */
export function filtersOf(query) {
  return Object.fromEntries(FILTERS.filter((name) => query.get(name)).map((name) => [name, query.get(name)]));
}

/** The form of the filters; `apply` is called with those that are set. `known` suggests streams, models, judges. */
export function filterForm(filters, known, apply) {
  const outcomes = [["", "any"], ...Object.entries(OUTCOMES).map(([name, [, text]]) => [name, text])];
  const sources = [
    ["", "any"],
    ["judge", "judge"],
    ["predicted", "predicted"],
  ];
  const send = (event) => {
    event.preventDefault();
    const found = new FormData(event.target);
    apply(Object.fromEntries(FILTERS.map((name) => [name, (found.get(name) ?? "").trim()])));
  };
  return h(
    "form",
    { class: "filters", role: "search", "aria-label": "Filter pairs", on: { submit: send } },
    choice("Outcome", "outcome", filters.outcome, outcomes),
    choice("Label source", "source", filters.source, sources),
    entry("Stream", "stream", filters.stream, known.streams),
    entry("Model", "model", filters.model, known.models),
    entry("Judge", "judge", filters.judge, known.judges),
    entry("Policy", "policy", filters.policy),
    entry("Text", "text", filters.text),
    h("div", { class: "actions" }, h("button", { class: "primary" }, "Filter"), h("a", { href: "/pairs" }, "Clear")),
  );
}

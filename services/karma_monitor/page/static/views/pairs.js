/** Recent pairs that match the filters, newest first. */

import { get, queryOf } from "../api.js";
import { h, render } from "../dom.js";
import { count, date, number, share } from "../format.js";
import { empty, outcome, wide } from "../panels.js";
import { filterForm, filtersOf } from "./filters.js";
import { reveal, revealed } from "./reveal.js";

export const title = () => "Pairs";

const PAGE = 50;

export async function open(root, context) {
  const filters = filtersOf(context.query);
  const before = context.query.get("before");
  const [form, list, newer] = [h("div"), h("div"), h("p", { class: "newer" })];
  let found = null;
  const box = h("input", { type: "checkbox", checked: revealed(), on: { change: () => show(box.checked) } });
  root.append(
    h("div", { class: "title" }, h("h1", {}, "Pairs"), h("label", {}, box, " Reveal model names")),
    form,
    newer,
    list,
  );
  const apply = (set) => context.go(`/pairs${queryOf(set)}`);
  const known = { streams: [], models: [], judges: [] };
  let atOpening = null;
  context.listen(({ streams, endpoints, resolutions }) => {
    const total = Object.values(resolutions).reduce((sum, one) => sum + one, 0);
    atOpening ??= total;
    render(
      newer,
      before === null &&
        total > atOpening &&
        h("a", { href: `/pairs${queryOf(filters)}` }, `Show ${count(total - atOpening)} newer`),
    );
    if (form.childElementCount > 0) return;
    const named = (kind) => endpoints.filter((one) => one.kind === kind).map((one) => one.name);
    form.append(filterForm(filters, { streams, models: named("model"), judges: named("judge") }, apply));
  });

  function show(on) {
    reveal(on);
    if (found !== null) render(list, listed(found, filters));
  }

  found = await get("/api/pairs", { ...filters, before, limit: PAGE });
  if (context.left) return;
  if (form.childElementCount === 0) form.append(filterForm(filters, known, apply));
  render(list, listed(found, filters));
}

function listed({ pairs, next, searched }, filters) {
  const more =
    next !== null && h("a", { class: "more", href: `/pairs${queryOf({ ...filters, before: next })}` }, "Older pairs");
  const filtered = Object.keys(filters).length > 0;
  if (pairs.length === 0) {
    const text = filtered ? `None of the ${count(searched)} pairs searched matches the filters.` : "No pairs yet.";
    return [empty(text, filtered ? null : "karma enqueue FILE"), more && h("p", {}, more)];
  }
  const head = COLUMNS.map((name) => h("th", { scope: "col", class: "text" }, name));
  const rows = pairs.map((pair) => line(pair, filters, revealed()));
  return [
    wide("Pairs", h("table", { class: "pairs" }, h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows))),
    h("p", {}, h("span", { class: "note" }, `${count(pairs.length)} of ${count(searched)} pairs searched. `), more),
  ];
}

const COLUMNS = ["pair", "prompt", "response a", "response b", "label", "stream"];

/** One pair. Few columns of several short lines fit a small window; on a phone each pair is a card. */
function line(pair, filters, shown) {
  const excerpt = (content) => h("td", { class: "text" }, h("span", { class: "excerpt" }, content));
  return h(
    "tr",
    {},
    h(
      "th",
      { scope: "row" },
      h("a", { href: `/pairs/${pair.pair}${queryOf(filters)}` }, `${pair.pair}`),
      h("br"),
      outcome(pair.outcome),
    ),
    excerpt(pair.prompt),
    excerpt(side(pair, "a", shown)),
    excerpt(side(pair, "b", shown)),
    h("td", { class: "text" }, lines(label(pair))),
    h("td", { class: "text" }, lines([pair.stream, date(pair.resolved_at)])),
  );
}

const lines = (texts) => texts.filter(Boolean).map((text) => h("span", { class: "line" }, text));

/** The label in a few words: how certain, from whom, and what the two orders say. */
function label({ probability, source, flipped, information }) {
  return [
    probability !== null && `${share(Math.max(probability, 1 - probability), 0)} certain`,
    source,
    flipped !== null && (flipped ? "order flip" : "no order flip"),
    information !== null && `${number(information)} bits expected`,
  ];
}

function side(pair, name, shown) {
  return [
    pair.chosen === name && h("strong", { class: "chosen-mark" }, "✓ chosen "),
    shown && h("span", { class: "model" }, pair[`model_${name}`], ": "),
    pair[`text_${name}`] ?? "",
  ];
}

/** Recent pairs, newest first, as far as the filters let them through. */

import { get, queryOf } from "../api.js";
import { h, render } from "../dom.js";
import { count, date, number, share } from "../format.js";
import { empty, outcome, table } from "../panels.js";
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
    h("div", { class: "title" }, h("h1", {}, "Pairs"), h("label", {}, box, " Reveal the models")),
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
        h("a", { href: `/pairs${queryOf(filters)}` }, `${count(total - atOpening)} newer: look again`),
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
    const said = filtered
      ? `None of the ${count(searched)} pairs looked at passes the filters.`
      : "No pair was formed yet.";
    return [empty(said, filtered ? null : "karma enqueue FILE"), more && h("p", {}, more)];
  }
  const shown = revealed();
  const rows = pairs.map((pair) => [
    h("a", { href: `/pairs/${pair.pair}${queryOf(filters)}` }, `${pair.pair}`),
    outcome(pair.outcome),
    h("span", { class: "excerpt" }, pair.prompt),
    h("span", { class: "excerpt" }, side(pair, "a", shown)),
    h("span", { class: "excerpt" }, side(pair, "b", shown)),
    share(certainty(pair), 0),
    pair.source ?? "–",
    pair.flipped === null ? "–" : pair.flipped ? "flipped" : "same side",
    number(pair.information),
    pair.stream,
    date(pair.resolved_at),
  ]);
  const head = [
    ...["pair", "outcome", "prompt", "response a", "response b", "certainty", "label from", "both orders"],
    ...["information, bit", "stream", "resolved"],
  ];
  return [
    table("Pairs", head, rows, { texts: [1, 2, 3, 4, 6, 7, 9, 10] }),
    h("p", {}, h("span", { class: "note" }, `${count(pairs.length)} shown of ${count(searched)} looked at. `), more),
  ];
}

function side(pair, name, shown) {
  return [
    pair.chosen === name && h("strong", { class: "chosen-mark" }, "✓ chosen "),
    shown && h("span", { class: "model" }, pair[`model_${name}`], ": "),
    pair[`text_${name}`] ?? "",
  ];
}

/** How sure the label is of the side that it takes. */
function certainty({ probability }) {
  return probability === null ? null : Math.max(probability, 1 - probability);
}

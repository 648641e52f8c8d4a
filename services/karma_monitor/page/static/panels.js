/** The parts that views are made of: panels, tiles, tables, empty states. */

import { h } from "./dom.js";

let labels = 0;

/** A titled part of a view. `more` links to the view with the details. */
export function panel(title, { note, more } = {}, ...children) {
  return h(
    "section",
    { class: "panel", "aria-label": title },
    h("div", { class: "panel-head" }, h("h2", {}, title), more && h("a", { href: more.href }, more.text)),
    note && h("p", { class: "note" }, note),
    ...children,
  );
}

/** Figures with their names: [name, figure, note]. */
export function tiles(figures) {
  const one = ([name, figure, note]) =>
    h(
      "div",
      { class: "tile" },
      h("dt", {}, name),
      h("dd", { class: "figure" }, figure),
      h("dd", { class: "note" }, note),
    );
  return h("dl", { class: "tiles" }, figures.map(one));
}

/**
 * A table. The first cell of a row is its header. Columns hold numbers, except those whose indices are in `texts`.
 * @param {string} name what it shows, for screen readers
 */
export function table(name, head, rows, { texts = [], caption } = {}) {
  const kind = (column) => (column === 0 || texts.includes(column) ? "text" : null);
  const line = (row) =>
    h(
      "tr",
      {},
      row.map((cell, at) => (at === 0 ? h("th", { scope: "row" }, cell) : h("td", { class: kind(at) }, cell))),
    );
  return wide(
    name,
    h(
      "table",
      {},
      caption && h("caption", {}, caption),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          head.map((one, at) => h("th", { scope: "col", class: kind(at) }, one)),
        ),
      ),
      h("tbody", {}, rows.map(line)),
    ),
  );
}

/** A container that scrolls by itself where its content is wider than the page, with the keyboard too. */
export function wide(name, ...children) {
  return h("div", { class: "wide", tabindex: "0", role: "region", "aria-label": name }, ...children);
}

/** The figures behind a chart, collapsed. */
export function behind(name, head, rows, options) {
  return h("details", {}, h("summary", {}, `${name} as a table`), table(name, head, rows, options));
}

/** A sentence where there is nothing to show, and the command that changes that. */
export function empty(sentence, command) {
  return h("p", { class: "empty" }, sentence, command && [" Next: ", h("code", {}, command)]);
}

/** An error. */
export function failed(error) {
  return h("p", { class: "failed", role: "alert" }, error.message);
}

/** A labelled choice of a form; `options` are [value, text]. */
export function choice(label, name, value, options) {
  const listed = options.map(([key, text]) => h("option", { value: key, selected: key === (value ?? "") }, text));
  return field(label, (id) => h("select", { id, name }, listed));
}

/** A labelled text field, with suggestions where there are some. */
export function entry(label, name, value, suggestions = []) {
  return field(label, (id) => {
    const list = suggestions.length > 0 && `${id}-list`;
    return [
      h("input", { id, name, value: value ?? "", list, autocomplete: "off", spellcheck: "false" }),
      list &&
        h(
          "datalist",
          { id: list },
          suggestions.map((one) => h("option", { value: one })),
        ),
    ];
  });
}

function field(label, made) {
  const id = `field-${(labels += 1)}`;
  return h("div", { class: "field" }, h("label", { for: id }, label), made(id));
}

/** The outcome of a pair: a sign and a word, never a color alone. */
export function outcome(name) {
  const [sign, text] = OUTCOMES[name] ?? ["…", name ?? "open"];
  return h("span", { class: `outcome ${name ?? "open"}` }, h("span", { "aria-hidden": "true" }, sign), ` ${text}`);
}

export const OUTCOMES = {
  decisive: ["✓", "decisive"],
  tie: ["=", "tie"],
  inconsistent: ["≠", "inconsistent"],
  unscored: ["?", "unscored"],
  canary: ["◆", "canary"],
};

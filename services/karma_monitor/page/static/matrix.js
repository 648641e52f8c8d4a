/** Shares by row and column, as a table whose cells are colored by their value. */

import { h } from "./dom.js";
import { wide } from "./panels.js";

/** Fills from 0 to 1, and from losing (orange) over a half to winning (blue). Dark text is readable on all. */
export const SEQUENTIAL = ["#f4f8fb", "#e3eef6", "#d0e4f0", "#bcd9ea", "#a6cde3", "#8fc0dc", "#77b3d5", "#5fa5cd"];
export const DIVERGING = [
  ...["#e08a4a", "#e9a672", "#f2c6a4", "#f9e4d3"],
  "#f7f7f7",
  ...["#d5e7f2", "#aed1e6", "#85bbda", "#5fa5cd"],
];

const LONGEST_LINE = 26; // characters of a name

/**
 * @param {string} title
 * @param {string[]} names of rows and columns
 * @param {(number|null)[][]} cells shares of 0..1; null is unknown, and hatched
 * @param {string[]} fills
 * @param {function(number, number): string} show the text of a cell by row and column
 * @param {function(number, number): string} showUnknown the text of an unknown one
 */
export function matrix(title, names, cells, fills, show, showUnknown = () => "–") {
  const filled = (value) => fills[Math.min(fills.length - 1, Math.floor(value * fills.length))];
  const cell = (value, row, column) => {
    if (row === column) return h("td", { class: "self" }, h("span", { class: "sr-only" }, "itself"));
    if (value === null) return h("td", { class: "unknown" }, showUnknown(row, column));
    return h("td", { class: "share", vars: { "--fill": filled(value) } }, show(row, column));
  };
  const lines = names.map((name, row) =>
    h(
      "tr",
      {},
      h("th", { scope: "row", title: name }, name),
      cells[row].map((value, column) => cell(value, row, column)),
    ),
  );
  const head = names.map((name) => h("th", { scope: "col", title: name }, h("span", {}, name)));
  // Long names wrap, since their ends tell models apart; short ones take no more room than they need.
  const longest = `${Math.min(LONGEST_LINE, Math.max(...names.map((name) => name.length)))}ch`;
  return h(
    "figure",
    {},
    h("figcaption", {}, title),
    wide(title, h("table", { class: "matrix", vars: { "--name": longest } }, h("thead", {}, h("tr", {}, h("td", {}), head)), h("tbody", {}, lines))),
  );
}

/** The scale of the fills. */
export function legend(fills, low, middle, high) {
  const swatches = fills.map((fill) => h("span", { class: "swatch", vars: { "--fill": fill } }));
  return h(
    "p",
    { class: "legend" },
    low,
    h("span", { class: "swatches", "aria-hidden": "true" }, swatches),
    high,
    middle && h("span", { class: "note" }, ` ${middle}`),
  );
}

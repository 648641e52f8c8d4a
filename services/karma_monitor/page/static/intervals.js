/** Dots with whiskers: one row per value with its interval, on one axis. It is a table that has the figures too. */

import { h, s } from "./dom.js";
import { withMinus } from "./format.js";
import { wide } from "./panels.js";
import { placed, ticks } from "./scale.js";

/**
 * @param {string} name what it shows
 * @param {{label: Node|string, value: ?number, low: ?number, high: ?number, mark: ?number, text: string}[]} rows
 *   `mark` is a value to compare with; `text` stands beside the row
 * @param {{unit: string, said: string, rule: ?number, ends: ?number[], show: function(number): string}} axis
 *   `rule` draws a line at a value to compare with; `said` is the head of the column of texts
 */
export function intervals(name, rows, { unit, said, rule = null, ends = null, show = withMinus }) {
  const values = rows.flatMap((row) => [row.value, row.low, row.high, row.mark]).concat(rule);
  const known = values.filter((value) => value !== null && value !== undefined);
  const marks = ends ?? ticks(Math.min(...known), Math.max(...known));
  const across = placed(marks[0], marks.at(-1));
  const head = h(
    "tr",
    {},
    h("th", { scope: "col" }, name),
    h("th", { scope: "col", class: "strip" }, h("span", { class: "unit" }, unit), axisTicks(marks, across, show)),
    h("th", { scope: "col" }, said),
  );
  const lines = rows.map((row) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, row.label),
      h("td", { class: "strip" }, strip(row, marks, rule, across)),
      h("td", {}, row.text),
    ),
  );
  return wide(name, h("table", { class: "intervals" }, h("thead", {}, head), h("tbody", {}, lines)));
}

function axisTicks(marks, across, show) {
  const tick = (value) => h("span", { vars: { "--at": across(value) } }, show(value));
  return h("span", { class: "ticks", "aria-hidden": "true" }, marks.map(tick));
}

function strip(row, marks, rule, across) {
  const upright = (value, kind) =>
    s("line", { class: kind, x1: across(value), x2: across(value), y1: "0", y2: "100%" });
  const interval = row.low !== null && row.low !== undefined;
  return s(
    "svg",
    { class: "strip-picture", "aria-hidden": "true", focusable: "false" },
    marks.map((value) => upright(value, "grid")),
    rule !== null && upright(rule, "rule"),
    interval && s("line", { class: "whisker", x1: across(row.low), x2: across(row.high), y1: "50%", y2: "50%" }),
    row.mark !== null && row.mark !== undefined && upright(row.mark, "expected"),
    row.value !== null && s("circle", { class: row.faint ? "dot faint" : "dot", cx: across(row.value), cy: "50%", r: "4.5" }),
  );
}

/** Histograms and scatter plots in SVG with axes in HTML: they fit any width, and their texts stay readable. */

import { h, s } from "./dom.js";
import { count, withMinus } from "./format.js";
import { behind } from "./panels.js";
import { placed, ticks } from "./scale.js";

/** A frame with two axes around the shapes that `drawn(x, y)` returns; x and y turn values into positions in percent. */
function plot(title, { xs, xEnds, ys, xUnit, yUnit, xShow, yShow, square }, drawn) {
  const x = placed(...(xEnds ?? [xs[0], xs.at(-1)]));
  const y = placed(ys.at(-1), ys[0]);
  const mark = (show, at) => (value) => h("span", { vars: { "--at": at(value) } }, show(value));
  return h(
    "div",
    { class: square ? "plot square" : "plot" },
    h("p", { class: "unit" }, yUnit),
    h("div", { class: "y-axis", "aria-hidden": "true" }, ys.map(mark(yShow, y))),
    s(
      "svg",
      { class: "plot-picture", role: "img", "aria-label": title },
      ys.map((value) => s("line", { class: "grid", x1: "0", x2: "100%", y1: y(value), y2: y(value) })),
      drawn(x, y),
    ),
    h("div", { class: "x-axis", "aria-hidden": "true" }, xs.map(mark(xShow, x))),
    h("p", { class: "unit x-unit" }, xUnit),
  );
}

const short = (value) => withMinus(Number(value.toPrecision(3)));

/** Counts in bins between edges. Bins of unequal widths are drawn with equal widths, each edge with its value. */
export function histogram(title, { edges, counts }, { xUnit, yUnit = "pairs", note }) {
  const most = Math.max(...counts);
  if (!(most > 0)) return h("figure", {}, h("figcaption", {}, title), h("p", { class: "empty" }, "No data yet."));
  const axis = { ...across(edges), ys: ticks(0, most, 3), xUnit, yUnit, yShow: count };
  const bars = (x, y) =>
    counts.map((height, bin) => {
      const [left, right] = [axis.at(bin), axis.at(bin + 1)].map((edge) => Number.parseFloat(x(edge)));
      const top = Number.parseFloat(y(height));
      return s("rect", {
        class: "bar",
        x: `${left}%`,
        width: `${right - left}%`,
        y: `${top}%`,
        height: `${100 - top}%`,
      });
    });
  const rows = counts.map((found, bin) => [`${short(edges[bin])} to ${short(edges[bin + 1])}`, count(found)]);
  return h(
    "figure",
    {},
    h("figcaption", {}, title, note && h("span", { class: "note" }, ` ${note}`)),
    plot(title, axis, bars),
    behind(title, [xUnit, yUnit], rows),
  );
}

/** The horizontal axis of bins: `at` maps the index of an edge to a value on it. */
function across(edges) {
  const widths = edges.slice(1).map((edge, bin) => edge - edges[bin]);
  const even = Math.max(...widths) - Math.min(...widths) < 1e-6 * (edges.at(-1) - edges[0]);
  const xEnds = even ? [edges[0], edges.at(-1)] : [0, edges.length - 1];
  if (!even)
    return { xs: edges.map((_, index) => index), xEnds, xShow: (index) => short(edges[index]), at: (index) => index };
  const xs = ticks(...xEnds, 4).filter((tick) => tick >= xEnds[0] && tick <= xEnds[1]);
  return { xs, xEnds, xShow: short, at: (index) => edges[index] };
}

/** Points against the line on which both axes are equal; a point's size grows with its number. */
export function against(title, points, { xUnit, yUnit, noun }) {
  const marks = [0, 0.25, 0.5, 0.75, 1];
  const percent = (value) => `${Math.round(100 * value)} %`;
  const axis = { xs: marks, ys: marks, xUnit, yUnit, xShow: percent, yShow: percent, square: true };
  const most = Math.max(...points.map((point) => point.n));
  const drawn = (x, y) => [
    s("line", { class: "rule", x1: "0", y1: "100%", x2: "100%", y2: "0" }),
    points.map((point) => {
      const radius = 3 + 6 * Math.sqrt(point.n / most);
      return s("circle", { class: "dot", cx: x(point.x), cy: y(point.y), r: radius.toFixed(1) });
    }),
  ];
  const rows = points.map((point) => [percent(point.x), percent(point.y), count(point.n)]);
  return h(
    "figure",
    {},
    h("figcaption", {}, title),
    plot(title, axis, drawn),
    behind(title, [xUnit, yUnit, noun], rows),
  );
}

/** Shares with their intervals against another share, each named; the upright axis begins at 0. */
export function spots(title, points, { xUnit, yUnit }) {
  const axis = {
    xs: [0, 0.25, 0.5, 0.75, 1],
    ys: ticks(0, Math.max(...points.map((point) => point.high), 0.01), 4),
    ...{ xUnit, yUnit, xShow: (value) => String(100 * value), yShow: (value) => short(100 * value) },
  };
  const side = ({ x }) => (x > 0.6 ? { "text-anchor": "end", dx: "-9" } : { dx: "9" });
  const drawn = (x, y) =>
    points.map((point) => [
      s("line", { class: "whisker", x1: x(point.x), x2: x(point.x), y1: y(point.low), y2: y(point.high) }),
      s("circle", { class: "dot", cx: x(point.x), cy: y(point.y), r: "4.5" }),
      s("text", { x: x(point.x), y: y(point.y), dy: "4", ...side(point) }, point.label.slice(0, NAME_CHARACTERS)),
    ]);
  return h("figure", {}, h("figcaption", {}, title), plot(title, axis, drawn));
}

const NAME_CHARACTERS = 24;

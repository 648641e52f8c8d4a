/** Lines over time (uPlot), in the page's colors. Lines differ by dashes as well as by color. */

import { h, s } from "./dom.js";
import { withMinus } from "./format.js";
import uPlot from "./vendor/uPlot/uPlot.esm.js";

/** More lines cannot be distinguished. */
export const MOST_LINES = 8;
const DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3], [12, 4], [4, 4], [16, 3, 3, 3], [9, 2, 2, 2, 2, 2]];
const HEIGHT_PX = 220;
const YOUNG_S = 60;
const DAY_S = 86400;

export class TimeChart {
  /**
   * @param {string} title what it shows, for screen readers
   * @param {string[]} names of the lines
   * @param {string} unit of the upright axis
   * @param {{span_s: ?number, fromZero: boolean}} options the newest seconds that are shown (all if null)
   */
  constructor(title, names, unit, { span_s = null, fromZero = false } = {}) {
    Object.assign(this, { names, span_s, fromZero });
    this.canvas = h("div", { class: "chart", role: "img", "aria-label": title });
    this.figures = names.map(() => h("span", { class: "figure" }));
    this.element = h("div", {}, h("p", { class: "unit" }, unit), this.canvas, this.#legend());
    this.data = [[], ...names.map(() => [])];
    this.#observe();
  }

  /** Show columns of times (seconds since 1970) and values, and a text beside each name. */
  show(data, texts = []) {
    this.data = data;
    this.figures.forEach((node, index) => (node.textContent = texts[index] ?? ""));
    this.chart?.setData(data);
  }

  close() {
    this.resizes.disconnect();
    this.themes.forEach(([query, listener]) => query.removeEventListener("change", listener));
    this.chart?.destroy();
  }

  #observe() {
    this.resizes = new ResizeObserver(() => {
      const width = this.canvas.clientWidth;
      if (width === 0) return;
      if (this.chart === undefined) this.#draw();
      else if (this.chart.width !== width) this.chart.setSize({ width, height: HEIGHT_PX });
    });
    this.resizes.observe(this.canvas);
    const query = matchMedia("(prefers-color-scheme: dark)");
    const redraw = () => this.chart !== undefined && this.#draw();
    query.addEventListener("change", redraw);
    this.themes = [[query, redraw]];
  }

  #draw() {
    this.chart?.destroy();
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(`--${name}`).trim();
    const axis = {
      stroke: color("note"),
      font: "12px system-ui, sans-serif",
      grid: { stroke: color("grid"), width: 1 },
      ticks: { stroke: color("grid"), width: 1 },
    };
    const line = (label, index) => ({
      label,
      stroke: color(`s${index % MOST_LINES}`),
      width: 2,
      dash: DASHES[index % MOST_LINES],
      points: { show: this.span_s === null, size: 5 },
    });
    const options = {
      width: this.canvas.clientWidth,
      height: HEIGHT_PX,
      legend: { show: false },
      cursor: { drag: { x: false, y: false } },
      series: [{}, ...this.names.map(line)],
      axes: [
        { ...axis, space: 72, values: (_, splits) => timesOf(splits) },
        { ...axis, size: 56, values: (_, splits) => splits.map(withMinus) },
      ],
      scales: {
        x: this.#times(),
        y: this.fromZero ? { range: (_, _low, high) => [0, high > 0 ? high * 1.1 : 1] } : {},
      },
    };
    this.chart = new uPlot(options, this.data, this.canvas);
  }

  /** The newest seconds; fewer while there are no more, so that a short history fills the picture. */
  #times() {
    if (this.span_s === null) return {};
    const range = (_, low, high) => {
      const end = high ?? Date.now() / 1000;
      return [Math.max(end - this.span_s, Math.min(low ?? end, end - YOUNG_S)), end];
    };
    return { range };
  }

  #legend() {
    const sample = (index) =>
      s(
        "svg",
        { class: "sample", "aria-hidden": "true", viewBox: "0 0 28 8" },
        s("line", {
          class: `s${index}`,
          x1: "0",
          x2: "28",
          y1: "4",
          y2: "4",
          "stroke-dasharray": DASHES[index].join(" "),
        }),
      );
    return h(
      "ul",
      { class: "lines" },
      this.names.map((name, index) => h("li", {}, sample(index % MOST_LINES), name, " ", this.figures[index])),
    );
  }
}

/** Times of an axis: with seconds where the ticks are close, with the day where they are far apart. */
function timesOf(splits) {
  const step_s = splits.length > 1 ? splits[1] - splits[0] : 1;
  const far = splits.length > 1 && splits.at(-1) - splits[0] > DAY_S;
  const form = { hour: "2-digit", minute: "2-digit", hourCycle: "h23", ...(step_s < 60 && { second: "2-digit" }) };
  const shown = new Intl.DateTimeFormat(undefined, far ? { ...form, month: "short", day: "numeric" } : form);
  return splits.map((at) => shown.format(new Date(at * 1000)));
}

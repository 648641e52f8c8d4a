/** A bounded history of figures: the newest points, as columns for a chart. */

const GAP_S = 5; // longer without a point is drawn as a gap

export class History {
  /**
   * @param {string[]} names of the figures
   * @param {number} most points kept
   */
  constructor(names, most = 300) {
    this.names = names;
    this.most = most;
    this.times = [];
    this.columns = names.map(() => []);
  }

  /** Add one point; the oldest one goes when there are too many. */
  add(at, figures) {
    const last = this.times.at(-1);
    if (last !== undefined && at <= last) return;
    if (last !== undefined && at - last > GAP_S) this.#push(last + 1, () => null);
    this.#push(at, (name) => figures[name] ?? null);
  }

  #push(at, figure) {
    this.times.push(at);
    this.columns.forEach((column, index) => column.push(figure(this.names[index])));
    if (this.times.length <= this.most) return;
    this.times.shift();
    this.columns.forEach((column) => column.shift());
  }

  /** Times and figures by column, as uPlot takes them. */
  get data() {
    return [this.times, ...this.columns];
  }

  /** The newest points as rows, newest first. */
  newest(most) {
    const rows = this.times.map((at, index) => [at, ...this.columns.map((column) => column[index])]);
    return rows.slice(-most).reverse();
  }
}

/** Axes: round ticks, and the position of a value between the ends in percent. */

/** About `most` round ticks that enclose the values. */
export function ticks(low, high, most = 5) {
  const span = high - low || Math.abs(high) || 1;
  const rough = span / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 2.5, 5, 10].find((one) => one * power >= rough);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  return Array.from({ length: last - first + 1 }, (_, index) => Number(((first + index) * step).toPrecision(12)));
}

/** From a value to its position between two ends, in percent. */
export function placed(low, high) {
  return (value) => `${(100 * (value - low)) / (high - low)}%`;
}

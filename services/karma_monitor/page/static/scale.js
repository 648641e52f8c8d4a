/** Axes: round ticks, and where a value lies between the ends in per cent. */

/** About `most` round ticks that hold the values between them. */
export function ticks(low, high, most = 5) {
  const span = high - low || Math.abs(high) || 1;
  const rough = span / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 2.5, 5, 10].find((one) => one * power >= rough);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  return Array.from({ length: last - first + 1 }, (_, place) => Number(((first + place) * step).toPrecision(12)));
}

/** From a value to its place between two ends, in per cent. */
export function placed(low, high) {
  return (value) => `${(100 * (value - low)) / (high - low)}%`;
}

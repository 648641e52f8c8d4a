/** Numbers as people read them, with their unit; an unknown one is "–", and a negative one has a minus sign. */

const NONE = "–";
const THIN = "\u202f"; // a narrow space that does not break
const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

const known = (value) => value !== null && value !== undefined && Number.isFinite(value);

/** A number's text with the minus sign of typography. */
export const withMinus = (text) => String(text).replaceAll("-", "−");

export function count(value) {
  return known(value) ? withMinus(WHOLE.format(value)) : NONE;
}

/** The window of pairs that a figure is about. */
export function lastPairs(value) {
  return value === 1 ? "last resolved pair" : `last ${count(value)} resolved pairs`;
}

/** `12 pairs`, `1 pair`. */
export function counted(value, noun) {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

/** A number with so many digits after the point. */
export function number(value, digits = 2) {
  return known(value) ? withMinus(value.toFixed(digits)) : NONE;
}

export function signed(value, digits = 2) {
  return known(value) ? `${value < 0 ? "" : "+"}${number(value, digits)}` : NONE;
}

/** A share of 0..1 in percent. */
export function share(value, digits = 1) {
  return known(value) ? `${number(100 * value, digits)}${THIN}%` : NONE;
}

/** A rate with three significant digits, and its unit. */
export function rate(value, unit = "/s") {
  return known(value) ? `${three(value)}${THIN}${unit}` : NONE;
}

function three(value) {
  const size = Math.abs(value);
  return size >= 100 ? count(value) : number(value, size >= 10 || size === 0 ? 1 : 2);
}

/** A span of time in its largest two units. */
export function span(seconds) {
  if (!known(seconds)) return NONE;
  const [found, sign] = [Math.abs(seconds), seconds < 0 ? "−" : ""];
  if (found < 1) return `${sign}${Math.round(found * 1000)}${THIN}ms`;
  if (found < 10) return `${sign}${found.toFixed(1)}${THIN}s`;
  if (found < 60) return `${sign}${Math.round(found)}${THIN}s`;
  const whole = Math.round(found);
  for (const [name, size, part, partSize] of UNITS) {
    if (whole < size) continue;
    const rest = Math.floor((whole % size) / partSize);
    return `${sign}${Math.floor(whole / size)}${THIN}${name}${rest ? ` ${rest}${THIN}${part}` : ""}`;
  }
  return NONE;
}

const UNITS = [
  ["d", 86400, "h", 3600],
  ["h", 3600, "min", 60],
  ["min", 60, "s", 1],
];

/** Money; small sums keep two significant digits. */
export function money(value, currency) {
  if (!known(value)) return NONE;
  const digits = value === 0 || Math.abs(value) >= 1 ? 2 : Math.min(8, 1 - Math.floor(Math.log10(Math.abs(value))));
  const style = { style: "currency", currency: currency || "USD", minimumFractionDigits: digits };
  return new Intl.NumberFormat("en", { ...style, maximumFractionDigits: digits }).format(value);
}

/** The time of day of seconds since 1970. */
export function clock(at) {
  return known(at) ? CLOCK.format(new Date(at * 1000)) : NONE;
}

/** Day and time of seconds since 1970. */
export function date(at) {
  return known(at) ? DATE.format(new Date(at * 1000)) : NONE;
}

/** `62.0 % (58.1 to 65.7)`: a share with its interval. */
export function interval(value, low, high, digits = 1) {
  if (!known(value)) return NONE;
  if (!known(low) || !known(high)) return share(value, digits);
  return `${share(value, digits)} (${(100 * low).toFixed(digits)} to ${(100 * high).toFixed(digits)})`;
}

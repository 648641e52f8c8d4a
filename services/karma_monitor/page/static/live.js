/**
 * The page's event stream: the live status, once a second while the tab is shown. Listeners are called at most once a
 * second, in an animation frame, with the newest status; those in between are skipped.
 */

const PAINT_MS = 950;
const STALE_AFTER_S = 3;
const RETRY_S = 5;

export class Live {
  picture = null;
  #source = null;
  #arrived = 0; // of the newest status, in milliseconds of the page's own clock
  #opened = 0;
  #painted = -Infinity;
  #waiting = false;
  #listeners = new Set();

  constructor(address, badge) {
    this.address = address;
    this.badge = badge;
  }

  /** Connect, and keep connected while the tab is shown. */
  start() {
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#close() : this.#open()));
    window.addEventListener("pagehide", () => this.#close());
    window.addEventListener("pageshow", () => document.hidden || this.#open());
    setInterval(() => this.#tick(), 1000);
    if (!document.hidden) this.#open();
  }

  /** Call a listener with the newest status now and with every later one; returns a function that ends this. */
  listen(listener) {
    this.#listeners.add(listener);
    if (this.picture !== null) listener(this.picture, false);
    return () => this.#listeners.delete(listener);
  }

  #open() {
    if (this.#source !== null) return;
    this.#opened = performance.now();
    this.#source = new EventSource(this.address);
    this.#source.addEventListener("live", (event) => this.#take(JSON.parse(event.data)));
  }

  #close() {
    this.#source?.close();
    this.#source = null;
  }

  #take(picture) {
    this.picture = picture;
    this.#arrived = performance.now();
    this.#paintSoon();
  }

  #paintSoon() {
    if (this.#waiting) return;
    this.#waiting = true;
    const wait_ms = Math.max(0, this.#painted + PAINT_MS - performance.now());
    setTimeout(() => requestAnimationFrame(() => this.#paint()), wait_ms);
  }

  #paint() {
    this.#waiting = false;
    this.#painted = performance.now();
    for (const listener of this.#listeners) listener(this.picture, true);
    this.#tick();
  }

  #tick() {
    if (document.hidden) return;
    const now = performance.now();
    // A browser gives up on a refused stream; the server may recover.
    if (this.#source?.readyState === EventSource.CLOSED && now - this.#opened > RETRY_S * 1000) {
      this.#close();
      this.#open();
    }
    this.badge(this.picture === null ? null : (now - this.#arrived) / 1000);
  }
}

/** The badge's text for a status so many seconds old; null where none came yet. */
export function freshness(age_s) {
  if (age_s === null) return { text: "no data yet", fresh: false };
  if (age_s < STALE_AFTER_S) return { text: "live", fresh: true };
  return { text: `stale ${Math.round(age_s)} s`, fresh: false };
}

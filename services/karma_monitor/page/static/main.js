/** The page: which view an address shows, the one event stream, and the keys. */

import { h, render } from "./dom.js";
import { Keys } from "./keys.js";
import { freshness, Live } from "./live.js";
import { failed } from "./panels.js";
import { rates } from "./rates.js";

/** Address → the module of its view. A view is `title` and `open(root, context)`, which gives what closes it. */
const VIEWS = [
  [/^\/$/, () => import("./views/stream.js")],
  [/^\/quality$/, () => import("./views/quality.js")],
  [/^\/models$/, () => import("./views/models.js")],
  [/^\/endpoints$/, () => import("./views/endpoints.js")],
  [/^\/pairs$/, () => import("./views/pairs.js")],
  [/^\/pairs\/(?<pair>\d+)$/, () => import("./views/pair.js")],
  [/^\/dead$/, () => import("./views/dead.js")],
];

const root = document.getElementById("view");
const live = new Live("/api/live", showFreshness);
const keys = new Keys();
let closing = [];
let visit = 0;
let shown = ""; // the address whose view is shown

/** What a view is given. Everything that it starts through here ends when it is left. */
function contextOf(parameters, number) {
  return {
    parameters,
    query: new URLSearchParams(location.search),
    get left() {
      return number !== visit;
    },
    listen: (listener) => closing.push(live.listen(listener)),
    onClose: (end) => closing.push(end),
    keys: (found) => (keys.view = found),
    go,
    /** Do something now and every so many seconds while the tab is shown; a failure is shown once. */
    every(seconds, work) {
      const safely = () => Promise.resolve(work()).catch((error) => number === visit && showFailure(error));
      const timer = setInterval(() => document.hidden || safely(), seconds * 1000);
      closing.push(() => clearInterval(timer));
      return safely();
    },
  };
}

/** Show the view of the page's address. */
async function show() {
  const number = (visit += 1);
  shown = location.pathname + location.search;
  closing.splice(0).forEach((end) => end());
  keys.view = {};
  const [found, load] =
    VIEWS.map(([pattern, one]) => [location.pathname.match(pattern), one]).find(([match]) => match) ?? [];
  markPlace();
  if (!found) {
    render(root, h("h1", {}, "Nothing here"), h("p", {}, `The page has no view ${location.pathname}.`));
    return;
  }
  try {
    const view = await load();
    if (number !== visit) return;
    document.title = `${view.title(found.groups ?? {})} · KARMA`;
    root.replaceChildren();
    await view.open(root, contextOf(found.groups ?? {}, number));
  } catch (error) {
    if (number === visit) showFailure(error);
  }
}

function showFailure(error) {
  root.querySelector(".failed")?.remove();
  root.append(failed(error));
}

/** Go to an address of this page without loading it anew. */
async function go(address, { replace = false } = {}) {
  const field = document.activeElement?.name;
  history[replace ? "replaceState" : "pushState"](null, "", address);
  await show();
  if (replace) {
    // The view was made anew: whoever changed a field is still there.
    if (field) root.querySelector(`[name="${CSS.escape(field)}"]`)?.focus({ preventScroll: true });
    return;
  }
  window.scrollTo(0, 0);
  root.focus({ preventScroll: true });
}

function markPlace() {
  const [, first] = location.pathname.split("/");
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === `/${first}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function showFreshness(age_s) {
  const { text, fresh } = freshness(age_s);
  const badge = document.getElementById("badge");
  badge.textContent = text;
  badge.classList.toggle("fresh", fresh);
  const said = fresh || age_s === null ? "" : "The figures are stale: the server, or the store behind it, does not answer.";
  const announcement = document.getElementById("announcement");
  if (announcement.textContent !== said) announcement.textContent = said; // said once, not every second
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href^='/']");
  const elsewhere = event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
  if (!link || elsewhere || link.target || event.defaultPrevented) return;
  event.preventDefault();
  go(link.getAttribute("href"));
});
document.getElementById("help").addEventListener("click", () => keys.help());
// A jump within the view, as the skip link's, shows nothing else.
window.addEventListener("popstate", () => location.pathname + location.search !== shown && show());
live.listen((picture, isNew) => isNew && rates.add(picture.at, picture.rates));
live.start();
show();

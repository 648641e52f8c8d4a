/** The page: the view of an address, the event stream, the strip of problems, and the keyboard shortcuts. */

import { enter, tokenIn } from "./api.js";
import { h, render } from "./dom.js";
import { Keys } from "./keys.js";
import { freshness, Live } from "./live.js";
import { failed } from "./panels.js";
import { showProblems } from "./problems.js";
import { rates } from "./rates.js";

/** Address → the module of its view, which exports `title` and `open(root, context)`. */
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
let isStale = false;

/** The context of a view. Everything that it starts through its context ends when the reader leaves it. */
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
    /** Do some work now and every so many seconds while the tab is shown; a failure is shown once. */
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
  markView();
  if (!found) {
    render(root, h("h1", {}, "Not found"), h("p", {}, `The page has no view ${location.pathname}.`));
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

/** Go to an address of this page without a reload. */
async function go(address, { replace = false } = {}) {
  const field = document.activeElement?.name;
  history[replace ? "replaceState" : "pushState"](null, "", address);
  await show();
  if (replace) {
    // The view was made anew: the field that was changed keeps the focus.
    if (field) root.querySelector(`[name="${CSS.escape(field)}"]`)?.focus({ preventScroll: true });
    return;
  }
  window.scrollTo(0, 0);
  root.focus({ preventScroll: true });
}

function markView() {
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
  const wasStale = isStale;
  isStale = !fresh && age_s !== null;
  if (isStale !== wasStale) showProblemsOf(live.picture);
}

function showProblemsOf(picture) {
  showProblems(document.getElementById("problems"), picture?.problems ?? [], isStale);
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href^='/']");
  const elsewhere = event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
  if (!link || elsewhere || link.target || event.defaultPrevented) return;
  event.preventDefault();
  go(link.getAttribute("href"));
});
document.getElementById("help").addEventListener("click", () => keys.help());
// A jump within the view, as by the skip link, opens no other view.
window.addEventListener("popstate", () => location.pathname + location.search !== shown && show());
live.listen((picture, isNew) => isNew && rates.add(picture.at, picture.rates));
live.listen(showProblemsOf);
// A link with a token, opened in a tab that is already here, changes the address only.
window.addEventListener("hashchange", () => tokenIn(location.hash) !== "" && location.reload());
enter().then(() => {
  live.start();
  show();
}, showFailure);

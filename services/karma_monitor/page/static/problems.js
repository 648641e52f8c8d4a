/** The strip of problems on top of every view. Without a problem it is empty, and hidden. */

import { h, render } from "./dom.js";

const SHOWN = 4;

/** The problem of a page whose figures are out of date: its server says nothing then. */
const STALE = {
  severity: "critical",
  summary: "The figures are out of date: the page's server or the store does not answer.",
  where: null,
  runbook: "deploy/runbooks/KarmaStoreTrouble.md",
};

/** Show the problems of the live status, the worst first. */
export function showProblems(strip, problems, isStale) {
  const all = isStale ? [STALE, ...problems] : problems;
  const rest = all.slice(SHOWN);
  render(
    strip,
    all.length > 0 && h("ul", { class: "problems" }, all.slice(0, SHOWN).map(problem)),
    rest.length > 0 &&
      h(
        "details",
        {},
        h("summary", {}, `${rest.length} more`),
        h("ul", { class: "problems" }, rest.map(problem)),
      ),
  );
}

function problem({ severity, summary, where, runbook }) {
  return h(
    "li",
    { class: severity },
    h("strong", {}, severity === "critical" ? "✖ Critical" : "⚠ Warning"),
    " ",
    where === null ? summary : h("a", { href: where }, summary),
    runbook && [" ", h("span", { class: "note" }, "Runbook: ", h("code", {}, runbook))],
  );
}

/** The newest failures, by reason. */

import { h } from "../dom.js";
import { count, date } from "../format.js";
import { panel, table } from "../panels.js";

export function failurePanels({ responses, verdicts, unscored }) {
  const pairs = unscored.length > 0 && { href: "/pairs?outcome=unscored", text: "Unscored pairs" };
  return [
    panel("Failed responses", {}, byReason("Failed responses", "model", responses)),
    panel("Failed verdicts", {}, byReason("Failed verdicts", "judge", verdicts)),
    panel("Unscored pairs", { more: pairs }, byReason("Unscored pairs", "stream", unscored)),
  ];
}

function byReason(name, by, found) {
  if (found.length === 0) return h("p", { class: "empty" }, "None.");
  const rows = found.map((one) => [
    one[by],
    h("span", { class: "reason" }, one.reason),
    count(one.count),
    date(one.last_at),
  ]);
  return table(name, [by, "reason", "count", "last"], rows, { texts: [1, 3] });
}

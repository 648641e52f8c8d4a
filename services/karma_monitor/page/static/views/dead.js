/** Dead prompts: those whose attempts are spent, and how to requeue them. */

import { get, post, queryOf } from "../api.js";
import { h, render } from "../dom.js";
import { counted, count, date } from "../format.js";
import { empty, panel, table } from "../panels.js";
import { failurePanels } from "./failures.js";

export const title = () => "Dead prompts";

const PAGE = 50;

const KINDS = [
  ["dead", "Requeue dead prompts", "whose attempts are spent"],
  ["failed", "Requeue failed calls", "of prompts without a pair, of unscored pairs, and of one judge among several"],
];

export async function open(root, context) {
  const before = context.query.get("before");
  const [list, failures] = [h("div"), h("div")];
  const said = h("p", { role: "status" });
  root.append(h("h1", {}, "Dead prompts"), panel("Requeue", { note: NOTE }, buttons(again), said), list, failures);

  async function again(what) {
    said.className = "";
    try {
      const answer = await post("/api/requeue", { what, stream: null });
      if (answer === null || context.left) return;
      said.textContent = `${counted(answer.requeued, "prompt")} requeued${kinds(answer)}.`;
      await load();
    } catch (error) {
      said.className = "bad";
      said.textContent = error.message;
    }
  }

  async function load() {
    const [found, failed] = await Promise.all([get("/api/dead", { before, limit: PAGE }), get("/api/failures")]);
    if (context.left) return;
    render(list, panel("Dead prompts", {}, listed(found)));
    render(failures, failurePanels(failed));
  }
  await load();
}

const NOTE = "Failures are kept. To requeue them costs calls, so a token that may only read is not enough.";

/** How many of each kind of failed calls, where there are any. */
function kinds({ without_pair, unscored, missing_verdicts }) {
  const found = [
    [without_pair, "without a pair"],
    [unscored, "with unscored pairs"],
    [missing_verdicts, "with missing verdicts"],
  ];
  const named = found.filter(([number]) => number > 0).map(([number, what]) => `${count(number)} ${what}`);
  return named.length ? `: ${named.join(", ")}` : "";
}

function buttons(again) {
  const one = ([what, text, note]) =>
    h(
      "li",
      {},
      h("button", { type: "button", on: { click: () => again(what) } }, text),
      h("span", { class: "note" }, ` ${note}`),
    );
  return h("ul", { class: "choices" }, KINDS.map(one));
}

function listed({ dead, next, total }) {
  if (dead.length === 0) return empty(total ? "No older ones." : "No dead prompts.");
  const rows = dead.map((one) => [
    one.prompt_id,
    one.stream,
    h("span", { class: "excerpt" }, one.error ?? "–"),
    h("span", { class: "excerpt" }, one.text ?? ""),
    date(one.accepted_at),
  ]);
  return [
    table("Dead prompts", ["prompt", "stream", "error", "text", "accepted"], rows, { texts: [1, 2, 3, 4] }),
    h(
      "p",
      {},
      h("span", { class: "note" }, `${count(dead.length)} of ${count(total)}. `),
      next !== null && h("a", { class: "more", href: `/dead${queryOf({ before: next })}` }, "Older ones"),
    ),
  ];
}

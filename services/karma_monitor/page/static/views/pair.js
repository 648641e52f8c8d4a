/** One pair side by side: prompt, responses, the verdicts in each order, reasons, outcome. */

import { get, queryOf } from "../api.js";
import { h, render } from "../dom.js";
import { counted, share } from "../format.js";
import { outcome, panel, table } from "../panels.js";
import { filtersOf } from "./filters.js";
import { newerPair, olderPair } from "./neighbours.js";
import { reveal, revealed } from "./reveal.js";
import { responses } from "./sides.js";

export const title = ({ pair }) => `Pair ${pair}`;

export async function open(root, context) {
  const id = Number(context.parameters.pair);
  const filters = filtersOf(context.query);
  const [body, said] = [h("div"), h("p", { role: "status", class: "note" })];
  const state = { diff: false, swapped: false, exported: false };
  root.append(
    h(
      "div",
      { class: "title" },
      h("h1", {}, `Pair ${id}`),
      h("a", { href: `/pairs${queryOf(filters)}` }, "Back to the pairs"),
    ),
    said,
    body,
  );
  const facts = await get(`/api/pairs/${id}`);
  if (context.left) return;
  if (facts.resolution?.outcome !== "decisive") state.exported = null; // no response was chosen
  const draw = () => render(body, controls(state, turn, move), contents(facts, state));
  const turn = (name) => {
    if (name === "revealed") reveal(!revealed());
    else if (state[name] !== null) state[name] = !state[name];
    draw();
  };
  const move = async (neighbour, where) => {
    const found = await neighbour(id, filters).catch((error) => error);
    if (context.left) return;
    if (typeof found === "number") context.go(`/pairs/${found}${queryOf(filters)}`);
    else
      said.textContent =
        found instanceof Error
          ? found.message
          : `No ${where} pair${Object.keys(filters).length ? " matches the filters" : ""}.`;
  };
  draw();
  context.keys({
    j: ["next pair (older)", () => move(olderPair, "older")],
    k: ["previous pair (newer)", () => move(newerPair, "newer")],
    d: ["mark differences", () => turn("diff")],
    x: ["swap sides", () => turn("swapped")],
    c: ["show as judged, or as chosen and rejected", () => turn("exported")],
    r: ["reveal or hide model names", () => turn("revealed")],
  });
}

function controls(state, turn, move) {
  const toggle = (name, key, text, on) =>
    h(
      "button",
      { type: "button", "aria-pressed": String(on ?? false), disabled: on === null, on: { click: () => turn(name) } },
      text,
      h("kbd", { "aria-hidden": "true" }, key),
    );
  const step = (text, key, neighbour, where) =>
    h(
      "button",
      { type: "button", on: { click: () => move(neighbour, where) } },
      text,
      h("kbd", { "aria-hidden": "true" }, key),
    );
  return h(
    "div",
    { class: "toolbar", role: "group", "aria-label": "The pair" },
    step("Newer", "k", newerPair, "newer"),
    step("Older", "j", olderPair, "older"),
    toggle("diff", "d", "Differences", state.diff),
    toggle("swapped", "x", "Swapped", state.swapped),
    toggle("exported", "c", "Chosen / rejected", state.exported),
    toggle("revealed", "r", "Models", revealed()),
  );
}

function contents(facts, state) {
  const { resolution, formed, stream, prompt_id, skill } = facts;
  const facts_shown = [
    ["Stream", stream],
    ["Prompt", prompt_id],
    ["Skill", skill ?? "–"],
    ["Policy", formed.policy],
    ["Label source", resolution?.label_source ?? "–"],
    ["Valid verdicts", judgesOf(facts)],
    ["Outcome", outcome(resolution?.outcome)],
  ];
  return [
    h(
      "dl",
      { class: "facts" },
      facts_shown.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
    ),
    panel(
      "Prompt",
      {},
      facts.messages.map(message),
      facts.reference !== null && message({ role: "reference", content: facts.reference }),
    ),
    responses(facts, state),
    panel("Verdicts", {}, verdicts(facts, state)),
    panel("Reasons", {}, reasons(facts)),
  ];
}

function message({ role, content }) {
  return h("div", { class: "message" }, h("h3", {}, role), h("p", { class: "said", dir: "auto" }, content));
}

function verdicts({ verdicts: found, judging }, state) {
  if (found.length === 0) {
    return h(
      "p",
      { class: "empty" },
      judging.judged ? "No verdicts yet." : "Not judged: the label is predicted.",
    );
  }
  const order = (one) => (one.order === 0 ? "a first" : "b first");
  const rows = found.map((one) => [
    one.is_person ? `${one.judge} (a person)` : one.judge,
    order(one),
    share(one.better_a, 0),
    one.better_a === null ? "failed" : one.better_a === 0.5 ? "neither" : one.better_a > 0.5 ? "a" : "b",
    [
      one.note && h("p", { class: "note" }, `Note: ${one.note}`),
      h("span", { class: "said" }, one.failure ?? one.rationale ?? "–"),
    ],
  ]);
  const note = state.exported ? null : `Sides above: ${state.swapped ? "b left, a right" : "a left, b right"}.`;
  return [
    note && h("p", { class: "note" }, note),
    table("Verdicts", ["judge", "order", "P(a is better)", "prefers", "rationale"], rows, { texts: [1, 3, 4] }),
  ];
}

/** "1 of 2 judges": how many of the judges that were asked gave a valid verdict. */
function judgesOf({ judging: { judges_valid: valid, judges_asked: asked, awaited } }) {
  if (asked === 0) return "–";
  return `${valid} of ${counted(asked, "judge")}${awaited > 0 ? `, ${counted(awaited, "verdict")} pending` : ""}`;
}

function reasons({ words }) {
  if (!revealed()) return h("p", { class: "empty" }, "The reasons name the models. Press Models to reveal them.");
  return h(
    "div",
    { class: "reasons-grid" },
    sections(words).map(({ name, lines }) =>
      h(
        "div",
        {},
        h("h3", {}, name),
        h(
          "ul",
          { class: "reasons" },
          lines.map((line) => h("li", {}, line)),
        ),
      ),
    ),
  );
}

/** The sentences of `karma explain` that repeat the view above; its quotes (`|`) are left out too. */
const SHOWN_ABOVE = "Verdicts";

/** The sentences of `karma explain` under their headings. */
function sections(words) {
  const found = [];
  for (const line of words) {
    if (!line.startsWith(" ")) found.push({ name: line, lines: [] });
    else found.at(-1)?.lines.push(line.trim());
  }
  return found.filter(({ name, lines }) => name !== SHOWN_ABOVE && lines.length > 0 && !lines[0].startsWith("|"));
}

/** Pause and resume: a change of the stream, so it needs a token that may change things. */

import { post } from "../api.js";
import { h, render } from "../dom.js";

/** All streams. */
const EVERYTHING = "*";

/** A button that pauses or resumes the stream, and the result. */
export function control(context) {
  const said = h("span", { role: "status", class: "note" });
  const button = h("button", { type: "button", on: { click: () => act() } });
  let paused = false;

  context.listen((picture) => {
    paused = picture.paused.length > 0;
    const [does, says] = [paused ? "Resume" : "Pause", status(picture.paused)];
    if (button.textContent !== does) render(button, does);
    // A screen reader announces a status each time it is set.
    if (said.dataset.kept === undefined && said.textContent !== says) said.textContent = says;
  });

  async function act() {
    said.dataset.kept = "";
    try {
      const answer = await post(paused ? "/api/resume" : "/api/pause", { stream: null });
      said.textContent = "";
      if (answer !== null) delete said.dataset.kept;
    } catch (error) {
      said.textContent = error.message;
    }
  }
  return h("div", { class: "control" }, said, button);
}

function status(paused) {
  if (paused.includes(EVERYTHING)) return "Paused: no prompts are admitted.";
  return paused.length > 0 ? `Paused: ${paused.join(", ")}` : "";
}

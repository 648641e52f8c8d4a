/** Pausing and going on: what changes the stream, so it needs the token. */

import { post } from "../api.js";
import { h, render } from "../dom.js";

/** The name under which all streams are paused. */
const EVERYTHING = "*";

/** A button that pauses the stream or lets it go on, and what came of it. */
export function control(context) {
  const said = h("span", { role: "status", class: "note" });
  const button = h("button", { type: "button", on: { click: () => act() } });
  let paused = false;

  context.listen((picture) => {
    paused = picture.paused.length > 0;
    const [does, says] = [paused ? "Resume" : "Pause", saying(picture.paused)];
    if (button.textContent !== does) render(button, does);
    // A status that is set anew is read out anew.
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

function saying(paused) {
  if (paused.includes(EVERYTHING)) return "Paused: no further prompt is taken up.";
  return paused.length > 0 ? `Paused: ${paused.join(", ")}` : "";
}

/** Keyboard shortcuts of the open view. They can be disabled (WCAG 2.2, 2.1.4), and never act while a reader types. */

import { showHelp } from "./dialogs.js";

const OFF = "karma-keys-off";

export class Keys {
  #view = {};

  constructor() {
    document.addEventListener("keydown", (event) => this.#press(event));
  }

  /** The shortcuts of the open view: key → [description, function]. */
  set view(keys) {
    this.#view = keys ?? {};
  }

  help() {
    const listed = Object.entries(this.#view).map(([key, [what]]) => [key, what]);
    const turn = (on) => (on ? localStorage.removeItem(OFF) : localStorage.setItem(OFF, "1"));
    showHelp([...listed, ["?", "show this help"]], !isOff(), turn);
  }

  #press(event) {
    const writes = event.target.closest?.("input:not([type=checkbox]), select, textarea, dialog");
    if (event.ctrlKey || event.metaKey || event.altKey || writes || isOff()) return;
    const found = event.key === "?" ? ["", () => this.help()] : this.#view[event.key];
    if (found === undefined) return;
    event.preventDefault();
    found[1]();
  }
}

function isOff() {
  return localStorage.getItem(OFF) !== null;
}

/** The page's dialog: the keyboard shortcuts, or the question for the token. */

import { h } from "./dom.js";

function shown(title, ...children) {
  const dialog = document.getElementById("dialog");
  dialog.replaceChildren(h("h2", { id: "dialog-title" }, title), ...children);
  dialog.showModal();
  return dialog;
}

/** Ask for a token; resolves to it, or to null where the reader closed the dialog. `refused` says why it is needed. */
export function askForToken(refused) {
  return new Promise((resolve) => {
    const field = h("input", { type: "password", id: "token", autocomplete: "off", required: true });
    const form = h(
      "form",
      { method: "dialog" },
      refused && h("p", { role: "alert", class: "bad" }, refused),
      h("p", {}, "Enter the link or the token that ", h("code", {}, "karma token"), " prints."),
      h("p", {}, h("label", { for: "token" }, "Token "), field),
      h(
        "p",
        { class: "actions" },
        h("button", { value: "given", class: "primary" }, "Continue"),
        h("button", { value: "", formnovalidate: true }, "Cancel"),
      ),
    );
    const dialog = shown("Token", form);
    dialog.returnValue = "";
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "given" ? field.value.trim() : null), {
      once: true,
    });
  });
}

/** Show the keyboard shortcuts, and whether they are enabled. */
export function showHelp(keys, isOn, turn) {
  const rows = keys.map(([key, what]) => h("tr", {}, h("th", { scope: "row" }, h("kbd", {}, key)), h("td", {}, what)));
  const box = h("input", { type: "checkbox", checked: isOn, on: { change: () => turn(box.checked) } });
  shown(
    "Keyboard shortcuts",
    h("table", { class: "keys" }, h("tbody", {}, rows)),
    h("p", {}, h("label", {}, box, " Enable keyboard shortcuts")),
    h("form", { method: "dialog", class: "actions" }, h("button", { class: "primary" }, "Close")),
  );
}

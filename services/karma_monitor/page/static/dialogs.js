/** The page's dialog: the keys and what they do, or the question for the token. */

import { h } from "./dom.js";

function shown(title, ...children) {
  const dialog = document.getElementById("dialog");
  dialog.replaceChildren(h("h2", { id: "dialog-title" }, title), ...children);
  dialog.showModal();
  return dialog;
}

/** Ask for the token; resolves to it, or to null where the reader closed the dialog. */
export function askForToken(refused) {
  return new Promise((resolve) => {
    const field = h("input", { type: "password", id: "token", autocomplete: "off", required: true });
    const form = h(
      "form",
      { method: "dialog" },
      refused && h("p", { role: "alert", class: "bad" }, "That was not the token."),
      h("p", {}, "Whoever changes anything needs the token that ", h("code", {}, "karma up"), " printed."),
      h("p", {}, h("label", { for: "token" }, "Token "), field),
      h(
        "p",
        { class: "actions" },
        h("button", { value: "given", class: "primary" }, "Go on"),
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

/** Show the keys, and whether they are on. */
export function showHelp(keys, isOn, turn) {
  const rows = keys.map(([key, what]) => h("tr", {}, h("th", { scope: "row" }, h("kbd", {}, key)), h("td", {}, what)));
  const box = h("input", { type: "checkbox", checked: isOn, on: { change: () => turn(box.checked) } });
  shown(
    "Keys",
    h("table", { class: "keys" }, h("tbody", {}, rows)),
    h("p", {}, h("label", {}, box, " Single keys do something")),
    h("form", { method: "dialog", class: "actions" }, h("button", { class: "primary" }, "Close")),
  );
}

/** The report: the page's views one below the other, from the data that the file itself holds. */

import { answerFrom } from "./api.js";
import { h, limitAddresses } from "./dom.js";
import { counted, date } from "./format.js";
import { failed, tiles } from "./panels.js";
import { showProblems } from "./problems.js";
import { open as openEndpoints } from "./views/endpoints.js";
import { funnel } from "./views/funnel.js";
import { open as openModels } from "./views/models.js";
import { open as openQuality } from "./views/quality.js";
import { outcomeTiles } from "./views/stream.js";

const data = JSON.parse(document.getElementById("data").textContent);
const main = document.getElementById("report");

/** Anchor → name, what opens the view, and whether it is about one stream too. */
const VIEWS = [
  ["stream", "Stream", openStream, false],
  ["quality", "Pair quality", openQuality, true],
  ["models", "Models", openModels, true],
  ["endpoints", "Endpoints", openEndpoints, false],
];

function openStream(root, { listen }) {
  listen((picture) => {
    const strip = h("div");
    // Workers and queues are those of the moment; a report leaves them out.
    const lasting = picture.problems.filter((one) => one.where !== "/");
    showProblems(strip, lasting.map((one) => ({ ...one, where: null })), false);
    root.append(h("h1", {}, "Stream"), strip, tiles(outcomeTiles(picture, true)), funnel(picture));
  });
}

/** Open a view with what the page would give it; a choice in it opens it anew. */
async function show(root, open, query) {
  const closing = [];
  const context = {
    query,
    left: false,
    frozen: true,
    listen: (listener) => listener(data.picture, true),
    onClose: (end) => closing.push(end),
    every: (_seconds, work) => work(),
    go: (address) => {
      closing.forEach((end) => end());
      root.replaceChildren();
      return show(root, open, new URLSearchParams(address.split("?")[1] ?? ""));
    },
  };
  try {
    await open(root, context);
  } catch (error) {
    root.append(failed(error));
    throw error;
  }
}

limitAddresses((address) => address.startsWith("#"));
data.answers["/api/models"][""] = data.answers["/api/models"][data.overall];
answerFrom(data.answers);

const views = VIEWS.filter(([, , , ofStream]) => ofStream || data.stream === null);
const subject = data.stream === null ? "all streams" : `the stream ${data.stream}`;
const links = views.map(([anchor, name]) => h("a", { href: `#${anchor}` }, name));
const sections = views.map(([anchor, name]) => h("section", { id: anchor, "aria-label": name }));
main.replaceChildren(
  h("h1", {}, "KARMA report"),
  h("p", {}, `${counted(data.pairs, "pair")} of ${subject}. Made ${date(data.made_at)}.`),
  h("nav", { "aria-label": "Views" }, links),
  ...sections,
);
views.forEach(([, , open], index) => show(sections[index], open, new URLSearchParams({ stream: data.stream ?? "" })));

addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => (one.open = true)));

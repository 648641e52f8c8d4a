/** Queues and workers: what waits, for how long, and who is there to take it. */

import { h } from "../dom.js";
import { count, span } from "../format.js";
import { empty, table } from "../panels.js";

/** The oldest message of a healthy queue is younger. */
const OLD_S = 60;

export function queueTable(queues) {
  if (queues.length === 0) return empty("No queue is known: no Redis answers.", "karma up");
  const rows = queues.map(({ queue, stage, length, age_s }) => [
    queue,
    stage,
    count(length),
    length ? aged(age_s) : "–",
  ]);
  return table("Queues", ["queue", "stage", "waiting", "age of the oldest"], rows, { texts: [1] });
}

export function workerTable(workers) {
  if (workers.length === 0) return empty("No worker shows life.", "karma up");
  const ready = workers.filter((worker) => worker.state === "ready").length;
  const rows = workers.map((worker) => [
    worker.service,
    worker.id,
    worker.state === "silent" ? warning("silent") : worker.state,
    span(worker.beat_age_s),
    worker.pid ?? "–",
    worker.metrics_port ?? "–",
  ]);
  const head = ["service", "id", "state", "last sign of life", "process", "port of metrics"];
  return table("Workers", head, rows, { texts: [1, 2], caption: `${ready} of ${workers.length} ready` });
}

function aged(age_s) {
  return age_s > OLD_S ? warning(span(age_s)) : span(age_s);
}

function warning(text) {
  return h("span", { class: "bad" }, "⚠ ", text);
}

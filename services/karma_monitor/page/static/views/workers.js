/** Queues and workers. */

import { h } from "../dom.js";
import { count, span } from "../format.js";
import { empty, table } from "../panels.js";

/** A queue whose oldest message is older is marked. */
const OLD_S = 60;

export function queueTable(queues) {
  if (queues.length === 0) return empty("Unknown: Redis does not answer.", "karma up");
  const rows = queues.map(({ queue, stage, length, age_s }) => [
    queue,
    stage,
    count(length),
    length ? aged(age_s) : "–",
  ]);
  return table("Queues", ["queue", "stage", "waiting", "oldest"], rows, { texts: [1] });
}

export function workerTable(workers) {
  if (workers.length === 0) return empty("No worker sends heartbeats.", "karma up");
  const ready = workers.filter((worker) => worker.state === "ready").length;
  const rows = workers.map((worker) => [
    worker.service,
    worker.id,
    worker.state === "silent" ? warning("heartbeat expired") : worker.state,
    span(worker.beat_age_s),
    worker.pid ?? "–",
    worker.metrics_port ?? "–",
  ]);
  const head = ["service", "id", "state", "last heartbeat", "process", "metrics port"];
  return table("Workers", head, rows, { texts: [1, 2], caption: `${ready} of ${workers.length} ready` });
}

function aged(age_s) {
  return age_s > OLD_S ? warning(span(age_s)) : span(age_s);
}

function warning(text) {
  return h("span", { class: "bad" }, "⚠ ", text);
}

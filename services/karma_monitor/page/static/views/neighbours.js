/** The pairs before and after one, among those that match the filters. The server lists the newest first. */

import { get } from "../api.js";

const PAGE = 50;
/** Newer pairs are searched in ever wider windows of ids above. */
const WINDOWS = [PAGE, 1000, 20000];

/** The next older pair's id, or null where there is none. */
export async function olderPair(id, filters) {
  for (let before = id; before !== null;) {
    const { pairs, next } = await get("/api/pairs", { ...filters, before, limit: 1 });
    if (pairs.length > 0) return pairs[0].pair;
    before = next;
  }
  return null;
}

/** The next newer pair's id, or null where there is none within the widest window. */
export async function newerPair(id, filters) {
  for (const window of WINDOWS) {
    let nearest = null;
    for (let before = id + window + 1; before !== null && before > id + 1;) {
      const { pairs, next } = await get("/api/pairs", { ...filters, before, limit: PAGE });
      nearest = pairs.filter((one) => one.pair > id).at(-1)?.pair ?? nearest;
      before = next;
    }
    if (nearest !== null) return nearest;
  }
  return null;
}

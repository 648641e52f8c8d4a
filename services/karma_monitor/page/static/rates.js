/** The stream's rates over the last five minutes. It outlives the views, so that a later visit shows all of them. */

import { History } from "./history.js";

/** Field of the live status → name. */
export const RATES = {
  prompts_per_s: "prompts",
  responses_per_s: "responses",
  pairs_per_s: "pairs",
  verdicts_per_s: "verdicts",
  preferences_per_s: "preferences",
};

export const rates = new History(Object.keys(RATES), 300);

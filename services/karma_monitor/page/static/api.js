/** Requests to the page's server. A token opens the session: the link that `karma up` or `karma token` prints has it. */

import { askForToken } from "./dialogs.js";

const JSON_TYPE = { "Content-Type": "application/json" };

/** A request that the server refused or that did not reach it; its message is a sentence for the reader. */
export class RequestError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

let frozen = null;

/** Answer from JSON instead of a server: address → value of its parameter ("" without one) → answer. */
export function answerFrom(answers) {
  frozen = answers;
}

/** The JSON of an address; parameters that are empty are left out. */
export async function get(path, parameters = {}) {
  if (frozen !== null) return frozen[path][Object.values(parameters)[0] ?? ""];
  return answered(await sent(path + queryOf(parameters), {}));
}

/**
 * Send a change. Where the session's token does not allow it, another one is asked for.
 * @returns {Promise<object|null>} the answer; null where the reader entered no token.
 */
export async function post(path, body) {
  for (;;) {
    const response = await sent(path, { method: "POST", headers: JSON_TYPE, body: JSON.stringify(body) });
    if (!response.headers.has("WWW-Authenticate")) return answered(response);
    const refused = response.status === 403 ? "This token may only read; a change needs another one." : "";
    if (!(await askUntilOpen(refused))) return null;
  }
}

/**
 * Begin the session: by the token in the page's address, which leaves the address at once, or by the cookie of an
 * earlier visit, or by a token that the reader enters.
 */
export async function enter() {
  const given = tokenIn(location.hash);
  if (given !== "") {
    history.replaceState(null, "", location.pathname + location.search);
    if (await openSession(given)) return;
  }
  const response = await sent("/api/session", {});
  if (response.status !== 401) await answered(response);
  else if (!(await askUntilOpen(given && "This link is no longer valid.")))
    throw new RequestError("This page needs a token. In a terminal, karma token prints a link that opens it.", 401);
}

/** The token in a link, or the text itself where it is none; empty where an address has none. */
export function tokenIn(text) {
  const [before, token] = text.split("#token=");
  return (token ?? (before.startsWith("#") ? "" : before)).trim();
}

/** Ask for a token until one opens the session; false where the reader gives up. */
async function askUntilOpen(refused) {
  for (let said = refused; ; said = "This is no valid token.") {
    const token = await askForToken(said);
    if (token === null) return false;
    if (await openSession(tokenIn(token))) return true;
  }
}

/** Have the token kept as a cookie that scripts cannot read: an event stream carries nothing else. */
async function openSession(token) {
  const headers = { ...JSON_TYPE, Authorization: `Bearer ${encodeURIComponent(token)}` };
  const response = await sent("/api/session", { method: "POST", headers, body: "{}" });
  if (response.status === 401) return false;
  await answered(response);
  return true;
}

/** Parameters as a query; empty where there are none. */
export function queryOf(parameters) {
  const kept = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return kept.length ? `?${new URLSearchParams(kept)}` : "";
}

async function sent(address, options) {
  try {
    return await fetch(address, { ...options, credentials: "same-origin" });
  } catch {
    throw new RequestError("The page's server does not answer. Is it running? karma up, or karma page", 0);
  }
}

async function answered(response) {
  let body = null;
  try {
    body = await response.json();
  } catch {
    body = null; // not from the page's server but, for instance, from a proxy
  }
  if (response.ok && body !== null) return body;
  const said = body?.error ?? body?.detail;
  const reason = typeof said === "string" ? said : `The server answered ${response.status}.`;
  throw new RequestError(reason, response.status);
}

/** Requests to the page's server. Reading needs no token; changes need the one that `karma up` prints. */

import { askForToken } from "./dialogs.js";

const KEY = "karma-token";

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
 * Send a change. The token is asked for once and kept in this tab's session; after a wrong one it is asked for again.
 * @returns {Promise<object|null>} the answer; null where the reader entered no token.
 */
export async function post(path, body) {
  let refused = false;
  for (;;) {
    const token = sessionStorage.getItem(KEY) ?? (await askForToken(refused));
    if (token === null) return null;
    const headers = { "Content-Type": "application/json", Authorization: `Bearer ${token}` };
    const response = await sent(path, { method: "POST", headers, body: JSON.stringify(body) });
    if (response.status !== 401) {
      sessionStorage.setItem(KEY, token);
      return answered(response);
    }
    sessionStorage.removeItem(KEY);
    refused = true;
  }
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

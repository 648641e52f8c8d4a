/** Questions to the page's server. Reading needs nothing; changing anything needs the token that `karma up` prints. */

import { askForToken } from "./dialogs.js";

const KEY = "karma-token";

/** A request that the server refused or that did not reach it; the message is a sentence for the reader. */
export class RequestError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** The JSON of an address; parameters that are empty are left out. */
export async function get(path, parameters = {}) {
  return answered(await sent(path + queryOf(parameters), {}));
}

/**
 * Change something. The token is asked for once and kept in this tab's session; a wrong one is asked for again.
 * @returns {Promise<object|null>} the answer; null where the reader gave no token.
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
    body = null; // an answer of no server of ours, such as a proxy's
  }
  if (response.ok && body !== null) return body;
  const said = body?.error ?? body?.detail;
  const reason = typeof said === "string" ? said : `The server answered ${response.status}.`;
  throw new RequestError(reason, response.status);
}

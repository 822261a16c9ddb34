// Client of the HTTP API: paths, token and errors.
const NAME = "genir-token";
let held = ""; // without storage, the token lasts until the page is closed

export const token = {
  get() {
    try {
      return sessionStorage.getItem(NAME) ?? held;
    } catch {
      return held;
    }
  },
  set(value) {
    held = value;
    try {
      if (value) sessionStorage.setItem(NAME, value);
      else sessionStorage.removeItem(NAME);
    } catch {
      // without storage, it is only in `held`
    }
  },
};

/** Return the JSON at a path; throw an Error with the server's message on failure. */
async function fetched(path, { json, ...options } = {}) {
  const headers = {};
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  if (json !== undefined) {
    headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(json);
  }
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is it still running?");
  }
  const unknown = { detail: `The server answered ${response.status}.` };
  const body = await response.json().catch(() => unknown); // for example a proxy's error page
  if (!response.ok) throw Object.assign(new Error(body.detail), { status: response.status });
  return body;
}

const place = (key) => `v1/documents/${encodeURIComponent(key)}`;

export const model = () => fetched("v1/model");

/** parameters: {query, k, where, shares, fresh}; system: "genir" or "bm25". */
export const search = (parameters, system, signal) =>
  fetched("v1/search", { method: "POST", json: { ...parameters, system }, signal });

/** Return the number of documents that pass a filter, and the values of fields among the best hits. */
export const facets = (parameters, signal) => fetched("v1/facets", { method: "POST", json: parameters, signal });

export function explain({ query, k, where }, signal) {
  const parameters = new URLSearchParams({ query, k });
  if (where) parameters.set("where", JSON.stringify(where));
  return fetched(`v1/explain?${parameters}`, { signal });
}

/** record: fields as in corpus.jsonl; replace: whether to replace the document with its key. */
export const add = (record, replace = false) =>
  fetched("v1/documents", { method: "POST", json: { document: record, replace } });
export const read = (key) => fetched(place(key));
export const remove = (key) => fetched(place(key), { method: "DELETE" });

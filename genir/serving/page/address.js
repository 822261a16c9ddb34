// The page's state in its URL: query, filters and view, so that a search can be shared.

/** Write the state into the URL; `lasting` adds an entry to the browser's history. */
export function remember({ query, where, view }, lasting) {
  document.title = query ? `${query} · genir` : "genir";
  const address = new URL(location.href);
  const parameters = { q: query, where: where && JSON.stringify(where), view: view === "results" ? "" : view };
  for (const [name, value] of Object.entries(parameters)) {
    if (value) address.searchParams.set(name, value);
    else address.searchParams.delete(name);
  }
  if (address.href === location.href) return;
  history[lasting ? "pushState" : "replaceState"](null, "", address);
}

/** Read the state from the URL. */
export function recalled() {
  const parameters = new URLSearchParams(location.search);
  const where = parsed(parameters.get("where"));
  return { query: parameters.get("q") ?? "", where, view: parameters.get("view") };
}

/** Parse a filter; null if it is not a JSON object. */
function parsed(text) {
  try {
    const where = JSON.parse(text);
    return where && typeof where === "object" && !Array.isArray(where) ? where : null;
  } catch {
    return null;
  }
}

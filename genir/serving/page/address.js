// The page's state in its URL, so that a search can be shared: query, filters, view, explained hit,
// number of results, shown parts of the tree, and the tab of the comparison.
const SITE = document.title; // the title of the page as it was sent
const SHOWN = "kept"; // parts of the tree that are shown by default

/**
 * Write the state into the URL; `lasting` adds an entry to the browser's history.
 *
 * state: {query, where, view, hit, size, tree, system}; empty values are left out.
 */
export function remember({ query, where, view, hit, size, tree, system }, lasting) {
  document.title = query ? `${query} · ${SITE}` : SITE;
  const parts = [tree.kept && "kept", tree.gone && "pruned"].filter(Boolean).join(",") || "none";
  const parameters = {
    q: query,
    where: where && JSON.stringify(where),
    view: view === "results" ? "" : view,
    hit: view === "reason" ? hit : "",
    n: size,
    tree: view === "reason" && parts !== SHOWN ? parts : "",
    system: view === "compare" ? system : "",
  };
  const address = new URL(location.href);
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
  const parts = (parameters.get("tree") ?? SHOWN).split(",");
  return {
    query: parameters.get("q") ?? "",
    where: parsed(parameters.get("where")),
    view: parameters.get("view"),
    hit: parameters.get("hit") ?? "",
    size: Number(parameters.get("n")),
    tree: { kept: parts.includes("kept"), gone: parts.includes("pruned") },
    system: parameters.get("system") ?? "",
  };
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

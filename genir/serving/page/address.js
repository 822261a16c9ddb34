// The address of the page: what is asked, how it is filtered, in which view. It can be shared.

/** Write what is asked into the address; `lasting` leaves a step in the browser's history. */
export function remember({ query, where, view }, lasting) {
  document.title = query ? `${query} · genir` : "genir";
  const address = new URL(location.href);
  const told = { q: query, where: where && JSON.stringify(where), view: view === "results" ? "" : view };
  for (const [name, value] of Object.entries(told)) {
    if (value) address.searchParams.set(name, value);
    else address.searchParams.delete(name);
  }
  if (address.href === location.href) return;
  history[lasting ? "pushState" : "replaceState"](null, "", address);
}

/** Return what the address says. */
export function recalled() {
  const told = new URLSearchParams(location.search);
  return { query: told.get("q") ?? "", where: parsed(told.get("where")), view: told.get("view") };
}

/** An address may hold anything. */
function parsed(text) {
  try {
    const where = JSON.parse(text);
    return where && typeof where === "object" && !Array.isArray(where) ? where : null;
  } catch {
    return null;
  }
}

// Two rankings, each with the other's ranks: side by side, or on a narrow page as tabs.
import { element } from "./elements.js";
import { linkOf, snippetOf } from "./results.js";

export const SYSTEMS = ["genir", "bm25"];
const NAMES = { genir: "genir", bm25: "BM25" };
const METHODS = { genir: "the model generates identifiers", bm25: "an inverted index counts words" };
const narrow = matchMedia("(max-width: 44rem)"); // as in views.css

/**
 * Draw the results of each of SYSTEMS into `place`.
 *
 * chosen: system of the tab that is open on a narrow page; `choose(system)` is called when it changes.
 */
export function drawComparison(place, answers, query, chosen, choose) {
  const places = answers.map(({ hits }) => new Map(hits.map((hit) => [hit.key, hit.rank])));
  const shared = [...places[0].keys()].filter((key) => places[1].has(key)).length;
  const most = Math.max(...answers.map(({ hits }) => hits.length));
  place.replaceChildren(
    element("p", { class: "overlap" }, element("b", {}, `${shared} of ${most}`), " documents are in both lists"),
    tabs(place, choose),
    element("div", { class: "columns" }, ...SYSTEMS.map((system, n) =>
      column(system, answers[n], places[1 - n], SYSTEMS[1 - n], query))),
  );
  place.dataset.system = SYSTEMS.includes(chosen) ? chosen : SYSTEMS[0];
  fit(place);
}

// --- tabs --------------------------------------------------------------------------------------

function tabs(place, choose) {
  const open = (system) => {
    place.dataset.system = system;
    fit(place);
    choose(system);
  };
  const list = element("div", { class: "tabs", role: "tablist", "aria-label": "Search system" },
    ...SYSTEMS.map((system) => {
      const properties = { id: `tab-${system}`, type: "button", role: "tab", "aria-controls": `column-${system}` };
      const tab = element("button", properties, NAMES[system]);
      tab.addEventListener("click", () => open(system));
      return tab;
    }));
  list.addEventListener("keydown", (event) => {
    if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
    const other = SYSTEMS.find((system) => system !== place.dataset.system); // there are two
    open(other);
    document.getElementById(`tab-${other}`).focus();
  });
  return list;
}

/** Show one column and its tab on a narrow page, else both columns. */
function fit(place) {
  for (const system of SYSTEMS) {
    const [tab, column] = ["tab", "column"].map((part) => document.getElementById(`${part}-${system}`));
    const on = system === place.dataset.system;
    tab.setAttribute("aria-selected", String(on));
    tab.tabIndex = on ? 0 : -1;
    column.hidden = narrow.matches && !on;
    if (narrow.matches) column.setAttribute("role", "tabpanel");
    else column.removeAttribute("role");
    column.setAttribute("aria-labelledby", narrow.matches ? tab.id : `name-${system}`);
  }
}

narrow.addEventListener("change", () => {
  const place = document.getElementById("compare-view");
  if (place.dataset.system && place.firstChild) fit(place);
});

// --- columns -----------------------------------------------------------------------------------

function column(system, answer, elsewhere, other, query) {
  const list = element("ol", { "aria-label": `Results of ${NAMES[system]}` },
    ...answer.hits.map((hit) => row(hit, elsewhere.get(hit.key), other, query)));
  list.addEventListener("pointerover", (event) => twin(event.target.closest("li")));
  list.addEventListener("pointerleave", () => twin(null));
  list.addEventListener("focusin", (event) => twin(event.target.closest("li")));
  return element("section", { id: `column-${system}`, class: `column ${system}` },
    element("h2", { id: `name-${system}` }, NAMES[system]),
    element("p", { class: "method" }, `${METHODS[system]}${timeOf(answer)}`),
    answer.hits.length ? list : element("p", { class: "none" }, "No results"));
}

/** The search time: without the cache, which is bypassed, and without building an index. */
const timeOf = ({ took_ms }) => (took_ms === undefined ? "" : `, ${took_ms.toFixed(1)} ms`);

function row(hit, there, other, query) {
  const item = element("li", { class: "row", "data-key": hit.key },
    element("span", { class: "rank", "aria-hidden": "true" }, String(hit.rank)),
    element("h3", { dir: "auto" }, linkOf(hit)),
    element("span", { class: there ? "where" : "where only" }, verdict(hit.rank, there, NAMES[other])));
  if (hit.snippet) item.append(snippetOf(hit, query));
  return item;
}

function verdict(here, there, other) {
  if (!there) return `not in ${other}'s list`;
  return there === here ? `also ${there} in ${other}` : `${there} in ${other}`;
}

/** Highlight the same document in both columns. */
function twin(item) {
  for (const row of document.querySelectorAll(".columns .row")) {
    row.classList.toggle("twin", Boolean(item) && row.dataset.key === item.dataset.key);
  }
}

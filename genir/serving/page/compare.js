// Two rankings side by side, each with the other's ranks.
import { element, linkOf, snippetOf } from "./results.js";

export const SYSTEMS = ["genir", "bm25"];
const NAMES = { genir: "genir", bm25: "BM25" };
const METHODS = { genir: "the model generates identifiers", bm25: "an inverted index counts words" };

/** Draw the results of each of SYSTEMS into `place`. */
export function drawComparison(place, answers, query) {
  const places = answers.map(({ hits }) => new Map(hits.map((hit) => [hit.key, hit.rank])));
  const shared = [...places[0].keys()].filter((key) => places[1].has(key)).length;
  const most = Math.max(...answers.map(({ hits }) => hits.length));
  place.replaceChildren(
    element("p", { class: "overlap" }, element("b", {}, `${shared} of ${most}`), " documents are in both lists"),
    element("div", { class: "columns" }, ...SYSTEMS.map((system, n) =>
      column(system, answers[n], places[1 - n], SYSTEMS[1 - n], query))),
  );
}

function column(system, answer, elsewhere, other, query) {
  const list = element("ol", { "aria-label": `Results of ${NAMES[system]}` },
    ...answer.hits.map((hit) => row(hit, elsewhere.get(hit.key), other, query)));
  list.addEventListener("pointerover", (event) => twin(event.target.closest("li")));
  list.addEventListener("pointerleave", () => twin(null));
  list.addEventListener("focusin", (event) => twin(event.target.closest("li")));
  return element("section", { class: `column ${system}` },
    element("h2", {}, NAMES[system], element("small", {}, `${METHODS[system]}${timeOf(answer)}`)),
    answer.hits.length ? list : element("p", { class: "none" }, "No results"));
}

const MIN_INDEX_MS = 1; // shorter index builds are not shown

/** The search time, and separately the time to build the index if it was built for this search. */
function timeOf({ took_ms, index_ms }) {
  const time = took_ms === undefined ? "" : `, ${took_ms.toFixed(1)} ms`;
  return index_ms > MIN_INDEX_MS ? `${time} after building its index (${index_ms.toFixed(0)} ms)` : time;
}

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

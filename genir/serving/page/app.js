// The page: one box, its results, and the keyboard. Results are drawn by results.js.
import { element, resultItem, skeletons } from "./results.js";

const STEP = 10; // results a page
const MOST = 100;
const PAUSE = 160; // ms without a key before a search starts
const PATIENCE = 150; // ms before skeletons show
const $ = (id) => document.getElementById(id);
const box = $("query");
const count = new Intl.NumberFormat("en");

let documents = 0;
let shown = ""; // the query whose results are on the page
let size = STEP;
let timer = 0;
let running = new AbortController();

// --- asking the server ---------------------------------------------------------------------

async function fetched(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is it still running?");
  }
  const unknown = { detail: `The server answered ${response.status}.` };
  const body = await response.json().catch(() => unknown); // a proxy's error page, say
  if (!response.ok) throw Object.assign(new Error(body.detail), { status: response.status });
  return body;
}

function ask(query, k, signal) {
  const headers = { "Content-Type": "application/json" };
  return fetched("search", { method: "POST", headers, signal, body: JSON.stringify({ query, k }) });
}

async function introduce() {
  try {
    const model = await fetched("model");
    documents = model.documents;
    describe(model);
  } catch (error) {
    if (error.status !== 503) return; // a search will say what is wrong
    $("served").textContent = "loading the model…";
    setTimeout(introduce, 700);
  }
}

function describe(model) {
  $("served").replaceChildren(
    element("b", {}, model.name), ` ${count.format(model.documents)} documents`,
    element("span", { class: "scheme" }, ` · ${model.scheme} identifiers`));
  $("served").title = [model.recipe, model.description].filter(Boolean).join(": ");
  $("examples").replaceChildren(...model.examples.map((text) => {
    const chip = element("button", { class: "example", type: "button" }, text);
    chip.addEventListener("click", () => begin(text));
    return chip;
  }));
}

// --- searching -----------------------------------------------------------------------------

/** Search for what stands in the box; `lasting` leaves a step in the browser's history. */
async function search({ lasting = false, k = STEP } = {}) {
  clearTimeout(timer);
  running.abort();
  running = new AbortController();
  const { signal } = running;
  const query = box.value.trim();
  remember(query, lasting);
  if (!query) return goHome();
  const waiting = setTimeout(showWaiting, PATIENCE);
  try {
    const answer = await ask(query, k, signal);
    if (!signal.aborted) show(query, answer, k);
  } catch (error) {
    if (!signal.aborted) showError(error);
  } finally {
    clearTimeout(waiting);
    if (!signal.aborted) $("results").removeAttribute("aria-busy");
  }
}

function begin(query) {
  box.value = query;
  box.focus();
  search({ lasting: true });
}

function remember(query, lasting) {
  $("clear").hidden = !query;
  document.title = query ? `${query} · genir` : "genir";
  const address = new URL(location.href);
  if (query) address.searchParams.set("q", query);
  else address.searchParams.delete("q");
  if (address.href === location.href) return;
  history[lasting ? "pushState" : "replaceState"](null, "", address);
}

// --- what the page shows -------------------------------------------------------------------

function become(state) {
  document.body.dataset.state = state;
  $("notice").hidden = state !== "empty" && state !== "error";
  $("more").hidden = true;
}

/** Replace the results; whoever had moved into the old ones is put at the head of the new. */
function fill(items, query = "") {
  const inside = $("results").contains(document.activeElement);
  $("results").replaceChildren(...items);
  $("results").dataset.query = query;
  if (inside) (targets()[0] ?? box).focus();
}

function goHome() {
  shown = "";
  become("home");
  fill([]);
  $("status").textContent = "";
}

function showWaiting() {
  $("results").setAttribute("aria-busy", "true");
  if ($("results").querySelector(".hit:not(.skeleton)")) return; // the last results wait, dimmed
  become("results");
  $("status").textContent = "Asking the model…";
  fill(skeletons(4));
}

function show(query, answer, k) {
  const hits = answer.hits;
  if (!hits.length) return showEmpty(query);
  become("results");
  [shown, size] = [query, k];
  fill(hits.map((hit) => resultItem(hit, query)), query);
  $("status").replaceChildren(timing(hits.length, answer.took_ms));
  $("more").hidden = hits.length < k || k >= Math.min(MOST, documents);
}

function timing(found, ms) {
  const time = ms < 10 ? ms.toFixed(1) : Math.round(ms);
  const whole = documents ? ` of ${count.format(documents)} documents` : " results";
  const line = element("span", {}, element("b", {}, `${found}${whole} in ${time} ms`));
  line.append(" no index consulted: the model itself emitted these identifiers");
  return line;
}

function showEmpty(query) {
  become("empty");
  fill([]);
  $("status").textContent = "No results";
  $("notice").replaceChildren(
    element("h2", {}, "Nothing to show"),
    element("p", {}, `No document is left that could answer “${query}”.`));
}

function showError(error) {
  become("error");
  fill([]);
  const loading = error.status === 503;
  $("status").textContent = loading ? "The model is still loading…" : "That did not work";
  const retry = element("button", { class: "more", type: "button" }, "Try again");
  retry.addEventListener("click", () => search());
  $("notice").replaceChildren(
    element("h2", {}, loading ? "One moment" : "That did not work"), element("p", {}, error.message), retry);
  if (loading) timer = setTimeout(search, 1000);
}

async function showMore() {
  const before = $("results").children.length;
  box.value = shown;
  await search({ k: Math.min(MOST, size + STEP) });
  targets()[before]?.focus();
}

// --- the keyboard --------------------------------------------------------------------------

const targets = () => [...document.querySelectorAll("#results .target")];

/** Move the focus through box and results: -1 is the box. */
function move(by) {
  const all = targets();
  const place = all.indexOf(document.activeElement) + by;
  const next = place < 0 ? box : all[Math.min(place, all.length - 1)];
  next?.focus();
  if (next === box) scrollTo({ top: 0 });
  else next?.closest("li").scrollIntoView({ block: "nearest" });
}

function clear() {
  box.value = "";
  box.focus();
  search();
}

const typing = (node) => node.matches?.("input, textarea, [contenteditable]");

document.addEventListener("keydown", (event) => {
  if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
  const inside = typing(event.target) || event.target.matches?.(".target, body");
  if (event.key === "/" && !typing(event.target)) box.focus(), box.select();
  else if (event.key === "Escape") clear();
  else if (event.key === "ArrowDown" && inside) move(1);
  else if (event.key === "ArrowUp" && inside) move(-1);
  else return;
  event.preventDefault();
});

box.addEventListener("input", (event) => {
  if (event.isComposing) return;
  clearTimeout(timer);
  timer = setTimeout(search, PAUSE);
});
box.addEventListener("compositionend", () => search());
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  search({ lasting: true });
});
$("clear").addEventListener("click", clear);
$("more").addEventListener("click", showMore);
addEventListener("popstate", restore);

function restore() {
  box.value = new URLSearchParams(location.search).get("q") ?? "";
  search();
}

introduce();
restore();
if (matchMedia("(hover: hover)").matches) box.focus();

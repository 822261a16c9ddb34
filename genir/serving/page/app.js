// The page: a search box and three views of the answer, each drawn by its own module.
import { recalled, remember } from "./address.js";
import * as api from "./api.js";
import { drawCard } from "./card.js";
import { SYSTEMS, drawComparison } from "./compare.js";
import { addDocument, askForToken, deleteDocument } from "./documents.js";
import { conditions, drawFilters, restoreConditions } from "./filters.js";
import { listen, targets } from "./keyboard.js";
import { notice, timing, toast } from "./messages.js";
import { element, percent, resultItem, skeletons, titleOf } from "./results.js";
import { drawReason } from "./tree.js";

const STEP = 10; // results per page
const MOST = 100;
const PAUSE = 160; // ms after the last key until a search starts
const PATIENCE = 150; // ms until skeletons are shown
const UNSURE = 0.5; // confidence below which the page says that nothing fits well
const VIEWS = ["results", "reason", "compare"];
const $ = (id) => document.getElementById(id);
const box = $("query");

let card = { documents: 0, fields: [], systems: [], access: {} }; // answer of /v1/model
let shown = { query: "", hits: [] }; // the answer on the page
let size = STEP;
let view = "results";
let options = { rank: 1, kept: true, gone: false }; // options of the tree: see tree.js
let focusRemoved = false; // whether the focused element was removed with the last view
let timer = 0;
let running = new AbortController();

// --- model ---------------------------------------------------------------------------------

async function introduce() {
  const token = api.token.get();
  try {
    const described = await api.model();
    if (token !== api.token.get()) return; // the answer to a token that was forgotten or replaced
    card = described;
    describe();
  } catch (error) {
    $("key").hidden = error.status !== 401;
    if (error.status !== 503) return; // the first search will show the error
    $("served").textContent = "loading the model…";
    setTimeout(introduce, 700);
  }
}

const filter = () => drawFilters($("filters"), card.fields, () => search({ lasting: true }));

function describe() {
  drawCard(card, begin);
  filter();
  if (shown.hits.length && view === "results") show(shown, size);
}

// --- search --------------------------------------------------------------------------------

/** Search for the text in the box; `lasting` adds an entry to the browser's history. */
async function search({ lasting = false, k = STEP } = {}) {
  clearTimeout(timer);
  running.abort();
  running = new AbortController();
  const { signal } = running;
  const query = box.value.trim();
  const where = conditions();
  $("clear").hidden = !query;
  remember({ query, where, view }, lasting);
  if (!query) return goHome();
  const waiting = setTimeout(showWaiting, PATIENCE);
  try {
    const draw = await requestView({ query, k, where }, signal);
    if (!signal.aborted) draw();
  } catch (error) {
    if (!signal.aborted) showError(error);
  } finally {
    clearTimeout(waiting);
    if (!signal.aborted) $(`${view}-view`).removeAttribute("aria-busy");
  }
}

/** Request the data of the view; return a function that draws it. */
async function requestView(parameters, signal) {
  const { query, k } = parameters;
  if (view === "compare") {
    const both = []; // sequentially and without the answer cache, so that the times are comparable
    for (const system of SYSTEMS) both.push(await api.search({ ...parameters, fresh: true }, system, signal));
    if (both.every(({ hits }) => !hits.length)) return () => showEmpty(query);
    return () => showComparison({ ...both[0], query }, both[1]);
  }
  const request = view === "reason" ? api.explain(parameters, signal)
    : api.search({ ...parameters, shares: true }, SYSTEMS[0], signal);
  const answer = { ...(await request), query };
  if (!answer.hits.length) return () => showEmpty(query);
  return view === "reason" ? () => showReason(answer) : () => show(answer, k);
}

function begin(query) {
  box.value = query;
  box.focus();
  search({ lasting: true });
}

/** Switch to another view of the same query; `rank` is the result to explain. */
function showView(name, rank = 1) {
  focusRemoved = inView();
  options = { ...options, rank };
  setState(document.body.dataset.state, name);
  search({ lasting: true, k: name === "results" ? size : STEP });
}

// --- drawing -------------------------------------------------------------------------------

function setState(state, name = view) {
  view = name;
  document.body.dataset.state = state;
  document.body.dataset.view = view;
  $("notice").hidden = state !== "empty" && state !== "error";
  $("more").hidden = true;
  for (const one of VIEWS) $(`${one}-view`).hidden = one !== view || state !== "results";
  for (const button of $("views").children) {
    button.setAttribute("aria-pressed", String(button.dataset.view === view));
  }
}

const inView = () => VIEWS.some((one) => $(`${one}-view`).contains(document.activeElement));

/** Whether the focus is in a view or nowhere: then it may be moved, since the user has not placed it elsewhere. */
const focusIsFree = () => inView() || document.activeElement === document.body;

/** Redraw a view; if the focus was in it, move the focus to the first target of the new content. */
function redraw(draw) {
  const inside = inView() || (focusRemoved && focusIsFree());
  focusRemoved = false;
  draw();
  if (!inside) return;
  const all = targets();
  (all.find((one) => one.matches("[aria-pressed=true]")) ?? all[0] ?? box).focus();
}

function fill(items, query = "") {
  $("results").replaceChildren(...items);
  $("results").dataset.query = query;
}

function goHome() {
  shown = { query: "", hits: [] };
  setState("home", "results");
  redraw(() => fill([]));
  $("status").textContent = "";
}

function showWaiting() {
  const place = $(`${view}-view`);
  place.setAttribute("aria-busy", "true");
  if (!place.hidden && place.querySelector("li:not(.skeleton)")) return; // keep the previous results, dimmed
  setState("results");
  $("status").textContent = "Asking the model…";
  if (view === "results") fill(skeletons(4));
  else place.replaceChildren(element("ol", { class: "results" }, ...skeletons(4)));
}

function show(answer, k) {
  setState("results");
  [shown, size] = [answer, k];
  const actions = {};
  if (card.explains) actions.why = ({ rank }) => showView("reason", rank);
  if (card.access.writes) actions.remove = remove;
  const items = answer.hits.map((hit, place) =>
    resultItem({ ...hit, share: answer.shares?.[place] }, answer.query, actions));
  redraw(() => fill(items, answer.query));
  $("doubt").hidden = !(answer.confidence < UNSURE);
  $("doubt").textContent = $("doubt").hidden ? ""
    : `Nothing fits well: the first result answers this with a probability of ${percent(answer.confidence)}.`;
  $("status").replaceChildren(timing(answer.hits.length, card.documents, answer.took_ms));
  $("more").hidden = answer.hits.length < k || k >= Math.min(MOST, card.documents);
}

function showReason(answer) {
  setState("results");
  shown = answer;
  if (!answer.hits.some(({ rank }) => rank === options.rank)) options = { ...options, rank: 1 };
  const change = (part, focus) => {
    options = { ...options, ...part };
    draw();
    $("reason-view").querySelector(focus).focus();
  };
  const draw = () => drawReason($("reason-view"), answer, { ...options, change });
  redraw(draw);
  $("status").replaceChildren(timing(answer.hits.length, card.documents, answer.took_ms));
}

function showComparison(answer, other) {
  setState("results");
  shown = answer;
  redraw(() => drawComparison($("compare-view"), [answer, other], answer.query));
  $("status").textContent = "";
}

function showEmpty(query) {
  setState("empty");
  redraw(() => fill([]));
  $("status").textContent = "No results";
  const filtered = conditions() ? " under these filters" : "";
  notice("Nothing to show", `No document matches “${query}”${filtered}.`);
}

function showError(error) {
  shown = { query: "", hits: [] };
  setState("error");
  redraw(() => fill([]));
  const loading = error.status === 503;
  const stranger = error.status === 401;
  $("status").textContent = loading ? "The model is still loading…" : "Search failed";
  const retry = element("button", { class: "more", type: "button" }, stranger ? "Give a token" : "Try again");
  retry.addEventListener("click", async () => (!stranger || (await askForToken())) && (introduce(), search()));
  notice(loading ? "One moment" : "Search failed", error.message, retry);
  if (loading) timer = setTimeout(search, 1000);
}

async function showMore() {
  const before = $("results").children.length;
  box.value = shown.query;
  await search({ k: Math.min(MOST, size + STEP) });
  if (focusIsFree() || document.activeElement === $("more")) targets()[before]?.focus();
}

// --- documents -----------------------------------------------------------------------------

async function add() {
  if ($("add").hidden) return;
  const added = await addDocument(card.fields);
  if (!added) return;
  const name = added.title || added._id;
  toast(`“${name}” was added.`, "Search for it", () => begin(name));
  await introduce();
  if (shown.query) search({ k: size });
}

async function remove(hit) {
  const restore = await deleteDocument(hit);
  if (!restore) return;
  const again = async () => (await introduce(), search({ k: size }));
  toast(`“${titleOf(hit)}” was deleted.`, "Undo", async () => {
    await restore();
    await again();
  });
  await again();
  if (focusIsFree()) box.focus();
}

// --- keyboard ------------------------------------------------------------------------------

/** The result that contains the focus, else the first one. */
function current() {
  const item = document.activeElement.closest?.("[data-rank]");
  return shown.hits.find((hit) => String(hit.rank) === item?.dataset.rank) ?? shown.hits[0];
}

const hasSearched = () => document.body.dataset.state !== "home";
const letters = {
  "/": () => (box.focus(), box.select()),
  w: () => hasSearched() && card.explains && (showView("reason", current()?.rank), true),
  c: () => hasSearched() && card.systems.includes("bm25") && (showView("compare"), true),
  r: () => hasSearched() && (showView("results"), true),
  f: () => focusFilters(),
  n: () => (add(), true),
  Delete: (target) => Boolean(target.closest(".hit")) && (removeButton(target)?.click(), true),
  "?": () => $("keys-dialog").showModal(),
};

const removeButton = (target) => target.closest(".hit").querySelector(".remove");

function focusFilters() {
  const first = $("filters").querySelector("details");
  if (!first || !hasSearched()) return false;
  first.open = true;
  first.querySelector("input")?.focus();
  return true;
}

/** Go one step back: close an open filter, leave a view, or clear the search. */
function escape() {
  const filter = document.querySelector("details.filter[open]");
  if (filter) {
    filter.open = false;
    filter.querySelector("summary").focus();
  } else if (view !== "results") showView("results");
  else clear();
}

function clear() {
  box.value = "";
  box.focus();
  search();
}

listen(letters, escape);
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
$("views").addEventListener("click", ({ target }) => target.dataset.view && showView(target.dataset.view));
$("clear").addEventListener("click", clear);
$("more").addEventListener("click", showMore);
$("add").addEventListener("click", add);
$("key").addEventListener("click", async () => (await askForToken()) && (introduce(), search()));
$("help").addEventListener("click", () => $("keys-dialog").showModal());
addEventListener("popstate", restore);

function restore() {
  const state = recalled();
  box.value = state.query;
  restoreConditions(state.where);
  setState(document.body.dataset.state, VIEWS.includes(state.view) ? state.view : "results");
  filter();
  search();
}

introduce();
restore();
if (matchMedia("(hover: hover)").matches) box.focus();

// The page: a search box and three views of the answer, each drawn by its own module.
import { recalled, remember } from "./address.js";
import * as api from "./api.js";
import { drawCard, mayAdd } from "./card.js";
import { SYSTEMS, drawComparison } from "./compare.js";
import { addDocument, askForToken, deleteDocument } from "./documents.js";
import { closeDropDown } from "./drop_downs.js";
import { element } from "./elements.js";
import { conditions, countWithin, drawFilters, restoreConditions } from "./filters.js";
import { focusBox, listen, targets } from "./keyboard.js";
import { notice, summary, toast } from "./messages.js";
import { drawReason } from "./reason.js";
import { resultItem, skeletons, strengths, titleOf } from "./results.js";

const STEP = 10; // results per page
const MAX_RESULTS = 100;
const PAUSE_MS = 160; // after the last key until a search starts
const PATIENCE_MS = 150; // until skeletons are shown
const UNSURE = 0.5; // confidence below which the page says that nothing fits well
const VIEWS = ["results", "reason", "compare"];
const NO_ACCESS = [401, 403];
const $ = (id) => document.getElementById(id);
const box = $("query");

let card = { documents: 0, fields: [], systems: [], examples: [], access: {} }; // answer of /v1/model
let known = Promise.resolve(); // resolved once the card is known, or cannot be
let shown = { query: "", hits: [] }; // the answer on the page
let total = null; // number of documents that pass the filters; null while unknown
let size = STEP;
let view = "results";
let explained = ""; // key of the explained document; "" for the first result
let tree = { kept: true, gone: false }; // parts of the tree: see tree.js
let system = ""; // open tab of the comparison
let focusRemoved = false; // whether the focused element was removed with the last view
let timer = 0;
let running = new AbortController();
let arrived = false; // whether /v1/model has answered: a private server asks for a token on arrival

// --- model ---------------------------------------------------------------------------------

function introduce() {
  known = readCard();
  return known;
}

async function readCard() {
  const token = api.token.get();
  try {
    const described = await api.model();
    if (token !== api.token.get()) return; // the answer to a token that was forgotten or replaced
    card = described;
    describe();
    if (!card.access.reads && !arrived) changeToken();
  } catch (error) {
    if (NO_ACCESS.includes(error.status)) {
      $("key").hidden = false;
      changeToken(error.message); // the token is unknown, or for another model
    }
    if (error.status !== 503) return; // the first search will show the error
    $("served").textContent = "loading the model…";
    await new Promise((resolve) => setTimeout(resolve, 700));
    await readCard();
  } finally {
    arrived = true;
  }
}

async function changeToken(wrong) {
  if ($("token-dialog").open || !(await askForToken(wrong))) return;
  introduce();
  search({ k: size });
}

const filter = () => drawFilters($("filters"), card.fields, () => search({ lasting: true }));
function describe() {
  drawCard(card, begin);
  filter();
  if (!shown.hits.length) return;
  if (view === "results") show(shown, size); // with the caller's actions
  countFacets(running.signal);
}

// --- search --------------------------------------------------------------------------------

/** Search for the text in the box; `lasting` adds an entry to the browser's history. */
async function search({ lasting = false, k = STEP } = {}) {
  clearTimeout(timer);
  running.abort();
  running = new AbortController();
  const { signal } = running;
  const parameters = { query: box.value.trim(), k, where: conditions() };
  $("clear").hidden = !parameters.query;
  size = k;
  total = null;
  note(lasting);
  if (!parameters.query) return goHome();
  const waiting = setTimeout(showWaiting, PATIENCE_MS);
  try {
    const draw = await requestView(parameters, signal);
    if (signal.aborted) return;
    draw();
    countFacets(signal);
  } catch (error) {
    if (!signal.aborted) showError(error);
  } finally {
    clearTimeout(waiting);
    if (!signal.aborted) $(`${view}-view`).removeAttribute("aria-busy");
  }
}

/** Write the page's state into the URL. */
function note(lasting = false) {
  const state = { query: box.value.trim(), where: conditions(), view, hit: explained, tree, system };
  remember({ ...state, size: size === STEP ? 0 : size }, lasting);
}

/** Request the data of the view; return a function that draws it. */
async function requestView(parameters, signal) {
  const { query } = parameters;
  if (view === "compare") {
    const both = []; // sequentially and without the answer cache, so that the times are comparable
    for (const one of SYSTEMS) both.push(await api.search({ ...parameters, fresh: true }, one, signal));
    if (both.every(({ hits }) => !hits.length)) return () => showEmpty(query);
    return () => showComparison({ ...both[0], query }, both[1]);
  }
  if (view === "reason") await known; // whether the model has beams to show
  const [answer, traced] = await Promise.all([
    api.search({ ...parameters, shares: true }, SYSTEMS[0], signal),
    view === "reason" && card.explains ? api.explain(parameters, signal) : null,
  ]);
  answer.query = query;
  if (!answer.hits.length) return () => showEmpty(query);
  return view === "reason" ? () => showReason(answer, traced) : () => show(answer, parameters.k);
}

/** Count the documents under the filters and the values of fields within the query. */
async function countFacets(signal) {
  const [query, where] = [box.value.trim(), conditions()];
  if (!card.fields.length || !query) return;
  try {
    const answer = await api.facets({ query, where }, signal);
    if (signal.aborted) return;
    total = answer.total;
    countWithin(answer.fields);
    if (shown.hits.length) showTotal();
  } catch {
    if (!signal.aborted) countWithin([]); // the results stay, without counts
  }
}

function begin(query) {
  box.value = query;
  box.focus();
  search({ lasting: true });
}

/** Switch to another view of the same query; `key` is the document to explain. */
function showView(name, key = "") {
  focusRemoved = inView();
  explained = key;
  setState(document.body.dataset.state, name);
  search({ lasting: true, k: size });
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

/**
 * Redraw a view; if the focus was in it, move the focus to the first target of the new content, else to
 * `rest`: not to the search box, into which the next shortcut would be typed.
 */
function redraw(draw, rest = $("status")) {
  const inside = inView() || (focusRemoved && focusIsFree());
  focusRemoved = false;
  draw();
  if (!inside) return;
  const all = targets();
  (all.find((one) => one.matches("[aria-pressed=true]")) ?? all[0] ?? rest).focus();
}

function fill(items, query = "") {
  $("results").replaceChildren(...items);
  $("results").dataset.query = query;
}

function goHome() {
  shown = { query: "", hits: [] };
  setState("home", "results");
  redraw(() => fill([]), box);
  $("status").textContent = "";
  countWithin(null);
}

function showWaiting() {
  const place = $(`${view}-view`);
  place.setAttribute("aria-busy", "true");
  if (!place.hidden && place.querySelector("li:not(.skeleton)")) return; // keep the previous results, dimmed
  setState("results");
  $("status").textContent = "Searching…";
  if (view === "results") fill(skeletons(4));
  else place.replaceChildren(element("ol", { class: "results" }, ...skeletons(4)));
}

function show(answer, k) {
  setState("results");
  shown = answer;
  const actions = { why: ({ key }) => showView("reason", key) };
  if (card.access.writes) actions.remove = remove;
  const strength = strengths(answer);
  const items = answer.hits.map((hit, place) =>
    resultItem({ ...hit, strength: strength[place] }, answer.query, actions));
  redraw(() => fill(items, answer.query));
  const unsure = answer.confidence < UNSURE; // false if it is unknown
  $("doubt").hidden = !unsure;
  $("doubt").textContent = unsure ? "Nothing fits well. These are the nearest documents." : "";
  $("more").hidden = answer.hits.length < k || k >= MAX_RESULTS;
  showTotal();
}

/** Show the number of results, and of the documents under the filters. */
function showTotal() {
  const filtered = Boolean(conditions());
  const among = filtered ? total : card.documents;
  $("status").textContent = summary(shown.hits.length, among, filtered);
  if (among && shown.hits.length >= among) $("more").hidden = true;
}

function showReason(answer, traced) {
  setState("results");
  shown = answer;
  if (!answer.hits.some(({ key }) => key === explained)) explained = answer.hits[0].key;
  note();
  const change = ({ key, ...part }, focus) => {
    explained = key ?? explained;
    tree = { ...tree, ...part };
    note();
    draw();
    $("reason-view").querySelector(focus).focus();
  };
  const draw = () => drawReason($("reason-view"), answer, traced, { ...tree, key: explained, change });
  redraw(draw);
  showTotal();
}

function showComparison(answer, other) {
  setState("results");
  shown = answer;
  const choose = (name) => {
    system = name;
    note();
  };
  redraw(() => drawComparison($("compare-view"), [answer, other], answer.query, system, choose));
  showTotal();
}

function showEmpty(query) {
  shown = { query, hits: [] };
  setState("empty");
  redraw(() => fill([]), $("notice"));
  $("status").textContent = "No results";
  const filtered = conditions() ? " under these filters" : "";
  notice("Nothing to show", `No document matches “${query}”${filtered}.`);
}

function showError(error) {
  shown = { query: "", hits: [] };
  setState("error");
  redraw(() => fill([]), $("notice"));
  const loading = error.status === 503;
  const refused = NO_ACCESS.includes(error.status);
  $("status").textContent = loading ? "The model is still loading…" : "";
  const retry = element("button", { class: "more", type: "button" }, refused ? "Give a token" : "Try again");
  retry.addEventListener("click", () => (refused ? changeToken() : (introduce(), search({ k: size }))));
  const title = loading ? "One moment" : refused ? "This search is private" : "Search failed";
  notice(title, error.message, retry);
  if (loading) timer = setTimeout(() => search({ k: size }), 1000);
}

async function showMore() {
  const before = $("results").children.length;
  box.value = shown.query;
  await search({ lasting: true, k: Math.min(MAX_RESULTS, size + STEP) });
  if (focusIsFree() || document.activeElement === $("more")) targets()[before]?.focus();
}

// --- documents -----------------------------------------------------------------------------

async function add() {
  if (!mayAdd(card)) return;
  const added = await addDocument(card.fields);
  if (!added) return;
  const name = added.title || added._id;
  toast(`“${name}” was added.`, "Search for it", () => begin(name));
  await introduce();
  if (shown.query) search({ k: size });
}

async function remove(hit) {
  const place = shown.hits.findIndex(({ key }) => key === hit.key);
  const restore = await deleteDocument(hit);
  if (!restore) return;
  const again = async () => (await introduce(), search({ k: size }));
  toast(`“${titleOf(hit)}” was deleted.`, "Undo", async () => {
    await restore();
    await again();
  });
  await again();
  if (focusIsFree()) (targets()[place] ?? $("status")).focus();
}

// --- keyboard ------------------------------------------------------------------------------

/** The result that contains the focus, else the first one. */
function current() {
  const item = document.activeElement.closest?.("[data-rank]");
  return shown.hits.find((hit) => String(hit.rank) === item?.dataset.rank) ?? shown.hits[0];
}

const hasSearched = () => document.body.dataset.state !== "home";
const letters = {
  "/": focusBox,
  w: () => hasSearched() && (showView("reason", current()?.key), true),
  c: () => hasSearched() && card.systems.includes("bm25") && (showView("compare"), true),
  r: () => hasSearched() && (showView("results"), true),
  f: () => focusFilters(),
  n: () => (add(), true),
  Delete: (target) => Boolean(card.access.writes && target.closest(".hit")) && (remove(current()), true),
  "?": () => $("keys-dialog").showModal(),
};

function focusFilters() {
  const first = $("filters").querySelector("details");
  if (!first || !hasSearched()) return false;
  first.open = true;
  first.querySelector("input")?.focus();
  return true;
}

/** Go one step back: close an open menu, leave a view, or clear the search. */
function escape() {
  if (closeDropDown()) return;
  if (view !== "results") showView("results");
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
  explained = "";
  clearTimeout(timer);
  timer = setTimeout(search, PAUSE_MS);
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
$("key").addEventListener("click", () => changeToken());
$("help").addEventListener("click", () => $("keys-dialog").showModal());
addEventListener("popstate", restore);

function restore() {
  const state = recalled();
  box.value = state.query;
  restoreConditions(state.where);
  [explained, tree, system] = [state.hit, state.tree, state.system];
  setState(document.body.dataset.state, VIEWS.includes(state.view) ? state.view : "results");
  filter();
  search({ k: Math.min(MAX_RESULTS, Math.max(STEP, Math.floor(state.size) || 0)) });
}

introduce();
restore();
if (!box.value && matchMedia("(hover: hover)").matches) box.focus();

// The list of results: title, breadcrumb, snippet, confidence, and actions.
import { menuOf } from "./drop_downs.js";
import { element } from "./elements.js";
import { marked } from "./words.js";

/** A result with `actions`: why, remove (optional); each is called with the hit. */
export function resultItem(hit, query, actions) {
  const item = element("li", { class: "hit", "data-rank": hit.rank });
  item.append(element("h2", { dir: "auto" }, linkOf(hit)));
  const steps = breadcrumb(hit);
  if (steps.length) item.append(trail(steps));
  if (hit.snippet) item.append(snippetOf(hit, query));
  const line = element("div", { class: "facts" });
  if (hit.strength !== null) line.append(strengthBar(hit.strength));
  const why = element("button", { type: "button", class: "act why", "aria-label": `Why ${titleOf(hit)}?` }, "Why?");
  why.addEventListener("click", () => actions.why(hit));
  line.append(why);
  if (actions.remove) {
    line.append(menuOf(`More for ${titleOf(hit)}`, [["Delete…", () => actions.remove(hit)]]));
  }
  item.append(line);
  return item;
}

export const titleOf = (hit) => hit.title || hit.key;

export function linkOf(hit) {
  const href = webAddress(hit.url)?.href ?? documentPath(hit.key);
  return element("a", { class: "target", href, rel: "noreferrer" }, titleOf(hit));
}

/** The server's own page of a document, like `document_path` of serving/document_page.py. */
export function documentPath(key) {
  const steps = key.split("/");
  const plain = !steps.some((step) => ["", ".", ".."].includes(step));
  return `documents/${plain ? steps.map(encodeURIComponent).join("/") : encodeURIComponent(key)}`;
}

export const snippetOf = (hit, query) =>
  element("p", { class: "snippet", dir: "auto" }, ...marked(hit.snippet, query));

/** Return a URL only for http(s): a corpus may also contain `javascript:` URLs. */
function webAddress(url) {
  if (!URL.canParse(url)) return null;
  const address = new URL(url);
  return ["http:", "https:"].includes(address.protocol) ? address : null;
}

// --- breadcrumb --------------------------------------------------------------------------------

/** The steps to a hit: its breadcrumb if it has more than the title, else the host and path of its URL. */
function breadcrumb({ breadcrumb: given, title, url, unit }) {
  if (given?.some((step) => step !== title)) return given;
  const address = webAddress(url);
  if (!address) return url ? [url] : [];
  const steps = address.pathname.split("/").filter(Boolean).map(decoded);
  const last = steps.pop()?.replace(/\.(html?|md)$/, "");
  if (last && last !== "index") steps.push(last);
  const part = unit?.heading || decoded(address.hash.slice(1));
  return [address.host, ...steps, ...(part ? [part] : [])];
}

const trail = (steps) => element("p", { class: "trail", dir: "auto" }, ...steps.flatMap((step, n) =>
  n ? [element("span", { class: "step", "aria-hidden": "true" }, "›"), element("span", {}, step)] : element("span", {}, step)));

function decoded(step) {
  try {
    return decodeURIComponent(step);
  } catch {
    return step; // a stray % is not an escape
  }
}

// --- confidence --------------------------------------------------------------------------------

/**
 * The strength of each hit of an answer, from 0 to 1; null if the model has no probabilities.
 *
 * It is the confidence in the first hit, in proportion to the hits' shares of the probability. A model
 * without a confidence has shares alone.
 */
export function strengths({ hits, shares, confidence }) {
  if (!shares) return hits.map((_, place) => (place ? null : confidence ?? null));
  const scale = (confidence ?? shares[0]) / (shares[0] || 1);
  return shares.map((share) => Math.min(1, scale * share));
}

const LABELS = [[0.5, "good match"], [0.1, "possible match"], [0, "weak match"]];

function strengthBar(strength) {
  const [, label] = LABELS.find(([least]) => strength >= least) ?? LABELS.at(-1);
  const bar = element("span", { class: "bar", role: "img", "aria-label": label, title: label }, element("span"));
  bar.firstChild.style.inlineSize = `${100 * strength}%`;
  return bar;
}

export function skeletons(count) {
  return Array.from({ length: count }, () =>
    element("li", { class: "hit skeleton", "aria-hidden": "true" },
      element("span", { class: "line short" }), element("span", { class: "line tiny" }),
      element("span", { class: "line" }), element("span", { class: "line" })));
}

// Results as elements. Text from the server becomes text nodes only, never markup.

const STOP_WORDS = new Set(
  ("a an and are as at be by can do does for from has have how i in is it its of on or that the " +
    "their this to was what when where which who why will with you your").split(" "),
);

/** Create an element; all properties are set as attributes. */
export function element(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

/** A count with its noun, in the singular or the plural. */
export const counted = (number, noun) =>
  `${new Intl.NumberFormat("en").format(number)} ${noun}${number === 1 ? "" : "s"}`;

/** A result with a button for each of `actions` (why, remove), which is called with the hit. */
export function resultItem(hit, query, actions = {}) {
  const item = element("li", { class: "hit", "data-rank": hit.rank });
  item.append(
    element("span", { class: "rank", "aria-hidden": "true" }, String(hit.rank)),
    element("h2", { dir: "auto" }, linkOf(hit)),
  );
  if (hit.url) item.append(element("p", { class: "url" }, ...crumbs(hit.url, webAddress(hit.url))));
  if (hit.snippet) item.append(snippetOf(hit, query));
  const line = facts(hit);
  if (actions.why) line.append(action("why", "Why?", `Why ${titleOf(hit)}?`, hit, actions));
  if (actions.remove) line.append(action("remove", "Delete", `Delete ${titleOf(hit)}`, hit, actions));
  item.append(line);
  return item;
}

function action(name, text, label, hit, actions) {
  const button = element("button", { type: "button", class: `act ${name}`, "aria-label": label }, text);
  button.addEventListener("click", () => actions[name](hit));
  return button;
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

function crumbs(url, address) {
  if (!address) return [url];
  const steps = (address.pathname + address.hash).split(/[/#]/).filter(Boolean).map(decoded);
  return [
    element("span", { class: "host" }, address.host),
    ...steps.flatMap((step) => [element("span", { class: "step", "aria-hidden": "true" }, "›"), step]),
  ];
}

function decoded(step) {
  try {
    return decodeURIComponent(step);
  } catch {
    return step; // a stray % is not an escape
  }
}

function facts(hit) {
  const line = element("p", { class: "facts" });
  if (hit.identifier) line.append(identifierChip(hit.identifier));
  line.append(scoreChip(hit));
  return line;
}

/** A code like 12-7-200 is split into its levels; text is shown unchanged. */
function identifierChip(identifier) {
  const levels = /^\d+(-\d+)+$/.test(identifier) ? identifier.split("-") : [identifier];
  const chip = element("code", { class: "chip identifier", title: "the identifier that the model generated" });
  chip.append(element("span", { class: "hidden" }, "identifier "));
  levels.forEach((level, depth) => {
    if (depth) chip.append(element("i", {}, "-"));
    chip.append(element("span", {}, level));
  });
  return chip;
}

/**
 * The score, and the hit's share of the probability of all matching documents if the server returns
 * it. Scores are log-probabilities unless they are positive.
 */
function scoreChip({ score, share }) {
  const chip = element("span", { class: "score" });
  const text = score > 0 ? score.toFixed(3) : `log p ${score.toFixed(2).replace("-", "−")}`;
  if (score > 0) chip.append("score ");
  chip.append(element("code", { class: "chip" }, text));
  if (share === undefined || share === null) return chip;
  const bar = element("span", { class: "bar", "aria-hidden": "true" }, element("span"));
  bar.firstChild.style.inlineSize = `${100 * share}%`;
  chip.title = "probability of this document among all matching documents, according to the model";
  chip.append(bar, percent(share));
  return chip;
}

// Shares from here on are 1 up to float32 rounding.
const WHOLE = 1 - 1e-6;

/** Format a share with two significant digits, like `percent` of evaluation/explain.py. */
export function percent(share) {
  if (share < 0.0005) return "< 0.1%";
  if (share >= WHOLE) return "100%";
  if (share >= 0.9995) return "> 99.9%";
  const tenths = share < 0.0995 || share >= 0.945;
  return tenths ? `${(100 * share).toFixed(1)}%` : `${Math.round(100 * share)}%`;
}

// Scripts without spaces: single characters and runs of them.
const SCRIPTS = ["Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar"];
const CHARACTER = `[${SCRIPTS.map((name) => `\\p{Script=${name}}`).join("")}ー]\\p{M}*`;
const CHARACTERS = new RegExp(CHARACTER, "gu");
const RUN = new RegExp(`^(?:${CHARACTER})+$`, "u");
const WORD = `(?:${CHARACTER})+|(?:(?!${CHARACTER})[\\p{L}\\p{M}\\p{N}_])+`;
const WORDS = new RegExp(WORD, "gu");
const PIECES = new RegExp(`(${WORD})`, "u");

/** Split a text into text nodes and <mark>s around query words. */
function marked(text, query) {
  const wanted = [...new Set(words(query))].filter((word) => !STOP_WORDS.has(word));
  const pairs = new Set(wanted.filter((word) => RUN.test(word)).flatMap(pairsOf));
  return text.split(PIECES).flatMap((piece, place) => {
    if (place % 2 === 0) return piece;
    if (RUN.test(piece)) return markedRun(piece, pairs);
    return wanted.some((word) => alike(word, piece.toLowerCase())) ? element("mark", {}, piece) : piece;
  });
}

/** Mark the characters of a run that are also adjacent in the query. */
function markedRun(run, pairs) {
  const characters = run.match(CHARACTERS);
  const lit = characters.map((one, n) =>
    pairs.has(one) || pairs.has(one + characters[n + 1]) || pairs.has(characters[n - 1] + one));
  return characters.map((one, n) => (lit[n] ? element("mark", {}, one) : one));
}

const pairsOf = (run) => {
  const characters = run.match(CHARACTERS);
  return characters.length === 1 ? characters : characters.slice(1).map((one, n) => characters[n] + one);
};

const words = (text) => text.toLowerCase().match(WORDS) ?? [];

/** Whether two words are equal or differ in their ending: copy and copies, sort and sorted. */
function alike(one, other) {
  if (one === other) return true;
  const shared = Math.max(4, Math.min(one.length, other.length) - 1);
  return one.slice(0, shared) === other.slice(0, shared) && Math.abs(one.length - other.length) < 4;
}

export function skeletons(count) {
  return Array.from({ length: count }, () =>
    element("li", { class: "hit skeleton", "aria-hidden": "true" },
      element("span", { class: "line short" }), element("span", { class: "line tiny" }),
      element("span", { class: "line" }), element("span", { class: "line" })));
}

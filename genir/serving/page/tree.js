// The reason: the prefixes that the beam search kept, level by level, as nested lists. On a wide
// page the lists stand side by side and curves join them; on a narrow one they are indented.
import { element, percent, titleOf } from "./results.js";

const SVG = "http://www.w3.org/2000/svg";
const count = new Intl.NumberFormat("en");
const minus = (number) => number.toFixed(2).replace("-", "−");

/**
 * Draw what /v1/explain told into `place`.
 *
 * wish: {rank, kept, gone, change}: the rank whose path is lit; whether prefixes that led to no
 * result, and those that were let go, are drawn; what to call with the part that a reader changes.
 */
export function drawReason(place, told, wish) {
  const way = told.nodes.filter((node) => node.kept && node.hits.includes(wish.rank));
  const lit = new Set(way.map((node) => node.id));
  const tree = element("ul", { class: "tree" }, branch(grown(told, wish), { told, lit, ...wish }));
  const scroller = element("div", { class: "scroller", tabindex: "0", role: "group", "aria-label": "The tree of beams" });
  scroller.append(document.createElementNS(SVG, "svg"), tree);
  scroller.firstChild.setAttribute("aria-hidden", "true");
  const steps = element("section", { class: "steps", tabindex: "0", "aria-label": "The lit path" },
    element("h3", {}, "The lit path, level by level"), table(way, told.levels));
  place.replaceChildren(heading(told, wish.rank, way), legend(told, wish), scroller, steps);
  joinWhenLaidOut(scroller);
}

// --- from nodes to a tree --------------------------------------------------------------------

const MORE = 12; // prefixes a level that are drawn though they led to no result, of each kind

/** Return the root: every node has its children, best first. */
function grown(told, wish) {
  const root = { kept: true, steps: [], children: [] };
  const known = new Map([[null, root]]);
  for (const { level } of told.levels) {
    const room = { kept: wish.kept ? MORE : 0, gone: wish.gone ? MORE : 0 };
    for (const node of told.nodes) {
      const above = known.get(node.parent);
      if (node.level !== level || !above || !(node.hits.length || room[kindOf(node)]-- > 0)) continue;
      const drawn = { ...node, steps: [node], children: [] };
      known.set(node.id, drawn);
      above.children.push(drawn);
    }
  }
  root.children = root.children.map(shortened);
  return root;
}

const kindOf = (node) => (node.kept ? "kept" : "gone");

/** Join what follows once a single document is left: the rest of its identifier is forced. */
function shortened(node) {
  while (node.documents === 1 && node.children.length === 1) {
    const [only] = node.children;
    node = { ...only, steps: [...node.steps, ...only.steps] };
  }
  return { ...node, children: node.children.map(shortened) };
}

/** Of the probability of all documents that could be found: a forced symbol costs nothing. */
const share = (steps) => steps.reduce((product, step) => product * step.share, 1);

// --- what is shown ---------------------------------------------------------------------------

function heading(told, rank, way) {
  const hit = told.hits.find((one) => one.rank === rank);
  const levels = way.length === 1 ? "one symbol" : `${way.length} symbols, one a level`;
  const line = element("p", {});
  if (hit && way.length) {
    line.append("The model wrote ", element("code", { class: "chip identifier" }, hit.identifier),
      ` — ${levels}, together `, element("b", {}, percent(share(way))),
      ` of the probability of all that could be found. Its score made it number ${rank}. `);
  }
  line.append(`At each level the ${told.beams} best prefixes went on.`);
  return element("header", { class: "headline" },
    element("h2", { dir: "auto" }, hit ? `Why “${titleOf(hit)}”?` : "Why these results?"), line);
}

function legend(told, { kept, gone, change }) {
  const line = element("div", { class: "legend" }, element("span", { class: "sample lit" }, "this result's path"));
  const others = told.nodes.filter((node) => node.kept && !node.hits.length).length;
  const lost = told.nodes.filter((node) => !node.kept).length;
  if (others) line.append(choice("kept", "kept, but not among the results", kept, change));
  if (lost) line.append(choice("gone", "let go", gone, change));
  return line;
}

function choice(name, text, on, change) {
  const box = element("input", { type: "checkbox", name });
  box.checked = on;
  box.addEventListener("change", () => change({ [name]: box.checked }, `[name=${name}]`));
  return element("label", { class: `check sample ${name}` }, box, text);
}

function branch(node, context) {
  const root = !node.steps.length;
  const lit = root ? context.lit.size > 0 : node.steps.every(({ id }) => context.lit.has(id));
  const classes = ["node", root && "root", lit && "lit", !node.kept && "gone"];
  const pill = element("span", { class: classes.filter(Boolean).join(" ") }, ...label(node, context.told));
  pill.dataset.share = share(node.steps);
  if (node.ended) pill.append(...ends(node, context));
  const item = element("li", {}, pill);
  if (node.children.length) {
    item.append(element("ul", {}, ...node.children.map((child) => branch(child, context))));
  }
  return item;
}

const LONGEST = 6; // symbols of a run that are shown

function label({ steps, kept }, told) {
  if (!steps.length) return [element("b", { dir: "auto" }, told.query)];
  const shown = steps.length > LONGEST ? [...steps.slice(0, LONGEST - 1), { symbol: "…" }] : steps;
  const symbols = element("span", { class: "symbols" },
    ...shown.map(({ symbol }) => element("code", {}, visible(symbol))));
  symbols.title = steps.map((step) => `${step.symbol}: ${percent(step.share)}`).join("\n");
  const parts = [symbols, element("span", { class: "share" }, percent(share(steps)))];
  if (!kept) parts.push(element("span", { class: "hidden" }, "let go"));
  return parts;
}

const visible = (symbol) => symbol.replace(/ /g, "␣") || "∅";

/** What an identifier leads to: hits as buttons, a document that is no hit as its key. */
function ends(node, { told, rank, change }) {
  if (!node.hits.length) return node.key ? [element("span", { class: "miss", dir: "auto" }, node.key)] : [];
  return node.hits.map((place) => {
    const hit = told.hits.find((one) => one.rank === place);
    const state = { "aria-pressed": String(place === rank), "data-rank": place };
    const button = element("button", { type: "button", class: "leaf", dir: "auto", ...state },
      element("b", {}, String(place)), ` ${titleOf(hit)}`);
    button.addEventListener("click", () => change({ rank: place }, `.leaf[data-rank="${place}"]`));
    return button;
  });
}

function table(way, levels) {
  const names = ["Level", "Symbol", "Share", "Prefix so far", "Kept", "Let go below"];
  const head = element("tr", {}, ...names.map((name) => element("th", { scope: "col" }, name)));
  const rows = way.map(({ level, symbol, share, score }) => {
    const bar = element("span", { class: "bar", "aria-hidden": "true" }, element("span"));
    bar.firstChild.style.inlineSize = `${100 * share}%`;
    const { kept, candidates, threshold } = levels[level - 1];
    return element("tr", {},
      element("th", { scope: "row" }, String(level)),
      element("td", {}, element("code", { class: "chip identifier" }, visible(symbol))),
      element("td", {}, element("span", { class: "score" }, bar, percent(share))),
      element("td", { class: "number" }, `log p ${minus(score)}`),
      element("td", { class: "number" }, `${count.format(kept)} of ${count.format(candidates)}`),
      element("td", { class: "number" }, threshold === null ? "–" : minus(threshold)));
  });
  return element("table", { class: "levels" }, element("thead", {}, head), element("tbody", {}, ...rows));
}

// --- the curves ------------------------------------------------------------------------------

let watching;

function joinWhenLaidOut(scroller) {
  watching?.disconnect();
  watching = new ResizeObserver(() => join(scroller));
  watching.observe(scroller.querySelector(".tree"));
}

/** Draw a curve from each node to each of its children, as thick as the child is probable. */
function join(scroller) {
  const [svg, tree] = scroller.children;
  const origin = tree.getBoundingClientRect();
  svg.setAttribute("width", tree.scrollWidth);
  svg.setAttribute("height", tree.scrollHeight);
  const curves = [...tree.querySelectorAll("li > ul > li > .node")].map((child) => {
    const above = child.parentElement.parentElement.parentElement.firstElementChild;
    const from = above.getBoundingClientRect();
    const to = child.getBoundingClientRect();
    const [x0, x1] = [from.right - origin.left, to.left - origin.left];
    const [y0, y1] = [middle(from) - origin.top, middle(to) - origin.top];
    const bend = (x1 - x0) / 2;
    const curve = document.createElementNS(SVG, "path");
    curve.setAttribute("d", `M${x0} ${y0}C${x0 + bend} ${y0} ${x1 - bend} ${y1} ${x1} ${y1}`);
    curve.setAttribute("stroke-width", (1.2 + 4 * Number(child.dataset.share)).toFixed(2));
    curve.setAttribute("class", ["lit", "gone"].filter((one) => child.classList.contains(one)).join(" "));
    return curve;
  });
  const lit = (curve) => curve.classList.contains("lit"); // drawn last, so that it lies on top
  svg.replaceChildren(...curves.filter((one) => !lit(one)), ...curves.filter(lit));
}

const middle = (box) => (box.top + box.bottom) / 2;

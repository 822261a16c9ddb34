// The explanation: the beam tree as nested lists, one level of prefixes per list. On a wide page the
// lists are side by side and joined by curves; on a narrow one they are indented.
import { element, percent } from "./elements.js";
import { titleOf } from "./results.js";

const SVG = "http://www.w3.org/2000/svg";
const count = new Intl.NumberFormat("en");
const minus = (number) => number.toFixed(2).replace("-", "−");

/**
 * Return the elements of an answer of /v1/explain: a headline, a legend, the tree and a table.
 *
 * options: {rank, kept, gone, change}: rank of the result whose path is highlighted; whether to show
 * kept prefixes without a result, and pruned prefixes; callback for changes of the options.
 */
export function drawTree(answer, options) {
  const way = answer.nodes.filter((node) => node.kept && node.hits.includes(options.rank));
  const lit = new Set(way.map((node) => node.id));
  const root = grown(answer, options);
  const tree = element("ul", { class: "tree" }, branch(root, { answer, lit, ...options }));
  const scroller = element("div", { class: "scroller", tabindex: "0", role: "group", "aria-label": "The tree of beams" });
  scroller.append(document.createElementNS(SVG, "svg"), tree);
  scroller.firstChild.setAttribute("aria-hidden", "true");
  const steps = element("section", { class: "steps", tabindex: "0", "aria-label": "The highlighted path" },
      element("h3", {}, "The highlighted path, level by level"), table(way, answer.levels));
  joinWhenLaidOut(scroller);
  return [heading(answer, way), legend(answer, options), scroller, steps];
}

// --- from nodes to a tree --------------------------------------------------------------------

const MORE = 12; // maximum number of prefixes without a result per level and kind

/** Return the root of the tree; the children of each node are sorted by score. */
function grown(answer, options) {
  const root = { kept: true, steps: [], children: [] };
  const known = new Map([[null, root]]);
  for (const { level } of answer.levels) {
    const room = { kept: options.kept ? MORE : 0, gone: options.gone ? MORE : 0 };
    for (const node of answer.nodes) {
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

/** Merge chains of nodes below a single document: the rest of its identifier is forced. */
function shortened(node) {
  while (node.documents === 1 && node.children.length === 1) {
    const [only] = node.children;
    node = { ...only, steps: [...node.steps, ...only.steps] };
  }
  return { ...node, children: node.children.map(shortened) };
}

/** Share of the probability of all matching documents; a forced symbol has probability 1. */
const share = (steps) => steps.reduce((product, step) => product * step.share, 1);

// --- elements --------------------------------------------------------------------------------

function heading(answer, way) {
  const line = element("p", {});
  if (way.length) {
    line.append(`${way.length} symbols, one per level, together `, element("b", {}, percent(share(way))),
      " of the probability of all matching documents. ");
  }
  line.append(`At each level the ${answer.beams} best prefixes were kept.`);
  return element("header", { class: "headline" }, element("h3", {}, "How the model generated it"), line);
}

function legend(answer, { kept, gone, change }) {
  const line = element("div", { class: "legend" }, element("span", { class: "sample lit" }, "this result's path"));
  const others = answer.nodes.filter((node) => node.kept && !node.hits.length).length;
  const lost = answer.nodes.filter((node) => !node.kept).length;
  if (others) line.append(choice("kept", "kept, but not among the results", kept, change));
  if (lost) line.append(choice("gone", "pruned", gone, change));
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
  const pill = element("span", { class: classes.filter(Boolean).join(" ") }, ...label(node, context.answer));
  pill.dataset.share = share(node.steps);
  if (node.ended) pill.append(...ends(node, context));
  const item = element("li", {}, pill);
  if (node.children.length) {
    item.append(element("ul", {}, ...node.children.map((child) => branch(child, context))));
  }
  return item;
}

const LONGEST = 6; // maximum number of symbols shown for a chain

function label({ steps, kept }, answer) {
  if (!steps.length) return [element("b", { dir: "auto" }, answer.query)];
  const shown = steps.length > LONGEST ? [...steps.slice(0, LONGEST - 1), { symbol: "…" }] : steps;
  const symbols = element("span", { class: "symbols" },
    ...shown.map(({ symbol }) => element("code", {}, visible(symbol))));
  symbols.title = steps.map((step) => `${step.symbol}: ${percent(step.share)}`).join("\n");
  const parts = [symbols, element("span", { class: "share" }, percent(share(steps)))];
  if (!kept) parts.push(element("span", { class: "hidden" }, "pruned"));
  return parts;
}

const visible = (symbol) => symbol.replace(/ /g, "␣") || "∅";

/** The documents of an identifier: hits as buttons, other documents by key. */
function ends(node, { answer, rank, change }) {
  if (!node.hits.length) return node.key ? [element("span", { class: "miss", dir: "auto" }, node.key)] : [];
  return node.hits.map((place) => {
    const hit = answer.hits.find((one) => one.rank === place);
    const state = { "aria-pressed": String(place === rank), "data-rank": place };
    const button = element("button", { type: "button", class: "leaf", dir: "auto", ...state },
      element("b", {}, String(place)), ` ${titleOf(hit)}`);
    button.addEventListener("click", () => change({ key: hit.key }, `.leaf[data-rank="${place}"]`));
    return button;
  });
}

function table(way, levels) {
  const names = ["Level", "Symbol", "Share", "Prefix so far", "Kept", "Pruned below"];
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

// --- curves ----------------------------------------------------------------------------------

let watching;

function joinWhenLaidOut(scroller) {
  watching?.disconnect();
  watching = new ResizeObserver(() => join(scroller));
  watching.observe(scroller.querySelector(".tree"));
}

/** Draw a curve from each node to each child; its width shows the child's probability. */
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
  const lit = (curve) => curve.classList.contains("lit"); // drawn last, on top of the others
  svg.replaceChildren(...curves.filter((one) => !lit(one)), ...curves.filter(lit));
}

const middle = (box) => (box.top + box.bottom) / 2;

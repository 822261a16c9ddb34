// Why a result was found: the matching words, the passage, the model's numbers, and the beam tree if
// identifiers have several levels.
import { element, percent } from "./elements.js";
import { linkOf, snippetOf, titleOf } from "./results.js";
import { drawTree } from "./tree.js";
import { marked, matches } from "./words.js";

/**
 * Draw the reason for one hit into `place`.
 *
 * answer: of /v1/search with shares. traced: of /v1/explain; null if the model has no beams to show.
 * options: {key, kept, gone, change}: key of the explained hit; which prefixes without a result the
 * tree shows; callback for changes of these options.
 */
export function drawReason(place, answer, traced, options) {
  const hit = answer.hits.find(({ key }) => key === options.key) ?? answer.hits[0];
  const parts = [headline(hit), wordLine(hit, answer.query), passage(hit, answer.query), numbers(hit, answer)];
  const levels = traced?.levels.length ?? 0;
  if (levels > 1) parts.push(...drawTree(traced, { ...options, rank: rankIn(traced, hit) }));
  else parts.push(otherResults(answer, hit, options));
  place.replaceChildren(...parts);
}

const rankIn = (traced, hit) => traced.hits.find(({ key }) => key === hit.key)?.rank ?? 0;

const headline = (hit) => element("header", { class: "headline" },
  element("h2", { dir: "auto" }, "Why “", linkOf(hit), "”?"));

/** The query's words in the title and the passage. */
function wordLine(hit, query) {
  const { found, missing } = matches(`${hit.title}\n${hit.snippet}`, query);
  const line = element("p", { class: "words" });
  if (!found.length) {
    line.append("No word of the query is in its title or passage: the model found it by its meaning.");
    return line;
  }
  line.append("Matching words: ", ...found.flatMap((word) => [element("mark", {}, word), " "]));
  if (missing.length) line.append(element("span", { class: "missing" }, `Not in this passage: ${missing.join(", ")}`));
  return line;
}

const passage = (hit, query) => element("blockquote", { class: "passage" },
  ...(hit.unit?.heading ? [element("h3", { dir: "auto" }, ...marked(hit.unit.heading, query))] : []),
  hit.snippet ? snippetOf(hit, query) : element("p", {}, "This document has no text."));

/** Identifier, log-probability, share and confidence, as far as the model has them. */
function numbers(hit, { hits, shares, confidence }) {
  const place = hits.indexOf(hit);
  const share = shares?.[place] ?? null;
  const log = hit.score > 0 ? null : hit.score.toFixed(2).replace("-", "−");
  const rows = [
    ["Rank", `${hit.rank}`],
    hit.identifier && ["Identifier that the model generated", identifierChip(hit.identifier)],
    log === null ? ["Score", hit.score.toFixed(3)] : ["log p of this identifier", log],
    share !== null && ["Probability among all matching documents", percent(share)],
    place === 0 && confidence != null && ["Confidence that it answers the query", percent(confidence)],
  ];
  return element("dl", { class: "numbers" }, ...rows.filter(Boolean).map(([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, value))));
}

/** A code like 12-7-200 is split into its levels; text is shown unchanged. */
function identifierChip(identifier) {
  const levels = /^\d+(-\d+)+$/.test(identifier) ? identifier.split("-") : [identifier];
  const chip = element("code", { class: "chip identifier" });
  levels.forEach((level, depth) => {
    if (depth) chip.append(element("i", {}, "-"));
    chip.append(element("span", {}, level));
  });
  return chip;
}

/** Buttons to explain another result; in the tree, its leaves are these buttons. */
function otherResults({ hits }, explained, { change }) {
  const list = element("ol", { class: "others" }, ...hits.map((hit) => {
    const pressed = String(hit === explained);
    const button = element("button", { type: "button", class: "leaf", dir: "auto", "aria-pressed": pressed, "data-rank": hit.rank },
      element("b", {}, String(hit.rank)), ` ${titleOf(hit)}`);
    button.addEventListener("click", () => change({ key: hit.key }, `.leaf[data-rank="${hit.rank}"]`));
    return element("li", {}, button);
  }));
  return element("section", { class: "other" }, element("h3", {}, "Explain another result"), list);
}

// The model card of /v1/model: the model, example queries, and the caller's rights.
import { counted, element } from "./results.js";

const $ = (id) => document.getElementById(id);

/** Draw the card; `begin(query)` is called when an example is clicked. */
export function drawCard(card, begin) {
  const documents = card.access.reads ? ` ${counted(card.documents, "document")}` : "";
  $("served").replaceChildren(
    element("b", {}, card.name), documents,
    element("span", { class: "scheme" }, ` · ${card.scheme} identifiers`));
  $("served").title = [card.recipe, card.description].filter(Boolean).join(": ");
  $("examples").replaceChildren(...card.examples.map((text) => {
    const chip = element("button", { class: "example", type: "button" }, text);
    chip.addEventListener("click", () => begin(text));
    return chip;
  }));
  $("add").hidden = !card.additions;
  $("key").hidden = !card.access.tokens;
  $("key").classList.toggle("on", Boolean(card.access.token));
  $("key").title = card.access.token ? `Token: ${card.access.token}` : "Token";
  for (const [view, there] of [["reason", card.explains], ["compare", card.systems.includes("bm25")]]) {
    $("views").querySelector(`[data-view=${view}]`).hidden = !there;
  }
}

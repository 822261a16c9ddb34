// The model card of /v1/model: number of documents, example queries, and the caller's rights.
import { counted, element } from "./elements.js";

const $ = (id) => document.getElementById(id);

/** Draw the card; `begin(query)` is called when an example is clicked. */
export function drawCard(card, begin) {
  $("served").textContent = card.access.reads ? counted(card.documents, "document") : "";
  $("served").title = [card.name, card.recipe, card.description].filter(Boolean).join(": ");
  $("examples").replaceChildren(...card.examples.map((text) => {
    const chip = element("button", { class: "example", type: "button" }, text);
    chip.addEventListener("click", () => begin(text));
    return chip;
  }));
  $("start").hidden = !card.examples.length;
  $("add").hidden = !mayAdd(card);
  $("key").hidden = !card.access.tokens;
  $("key").textContent = card.access.token ? `Token: ${card.access.token}…` : "Token…";
  $("views").querySelector("[data-view=compare]").hidden = !card.systems.includes("bm25");
}

/** Whether the caller may add documents to this model. */
export const mayAdd = (card) => Boolean(card.additions && card.access.writes);

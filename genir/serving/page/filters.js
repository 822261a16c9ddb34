// Metadata filters: a drop-down for each field with its most frequent values and, if there are more,
// inputs for a range of numbers or a text prefix.
import { element } from "./results.js";

const chosen = new Map(); // field -> condition for /v1/search: a list of values, or operators

/** Return `where` for /v1/search; undefined without filters. */
export const conditions = () => (chosen.size ? Object.fromEntries(chosen) : undefined);

/** Replace the filters by a `where` from the URL. */
export function restoreConditions(where) {
  chosen.clear();
  for (const [field, condition] of Object.entries(where ?? {})) {
    chosen.set(field, condition && typeof condition === "object" ? condition : [condition]);
  }
}

/** Draw a drop-down for each field into `place`; `changed()` is called after each choice. */
export function drawFilters(place, fields, changed) {
  const reset = element("button", { type: "button", class: "plain" }, "Clear filters");
  reset.addEventListener("click", () => {
    chosen.clear();
    drawFilters(place, fields, changed);
    (place.querySelector("summary") ?? document.getElementById("query")).focus();
    changed();
  });
  const update = () => {
    reset.hidden = !chosen.size;
    changed();
  };
  reset.hidden = !chosen.size;
  place.replaceChildren(...fields.map((field) => dropDown(field, update)), reset);
}

function dropDown(field, changed) {
  const summary = element("summary", {});
  const options = element("fieldset", {}, element("legend", {}, field.name));
  const box = element("details", { class: "filter", name: "filter" }, summary, options);
  const show = () => {
    summary.replaceChildren(...headline(field.name));
    box.classList.toggle("on", chosen.has(field.name));
  };
  const choose = (condition) => {
    if (condition) chosen.set(field.name, condition);
    else chosen.delete(field.name);
    show();
    changed();
  };
  options.append(...listed(field).map(([value, documents]) => option(field.name, value, documents, choose)));
  if (field.distinct > field.values.length) options.append(...further(field, choose));
  show();
  box.addEventListener("focusout", ({ relatedTarget }) => {
    if (relatedTarget && !box.contains(relatedTarget)) box.open = false;
  });
  return box;
}

/** The values on the model card, plus chosen values from the URL. */
function listed({ name, values }) {
  const known = new Map(values.map(({ value, documents }) => [value, documents]));
  const condition = chosen.get(name);
  for (const value of Array.isArray(condition) ? condition : []) if (!known.has(value)) known.set(value, "");
  return [...known];
}

function headline(name) {
  const condition = chosen.get(name);
  if (!condition) return [name];
  if (!Array.isArray(condition)) return [`${name} `, element("b", {}, operators(condition))];
  const shown = condition.slice(0, 2).join(", ");
  return [`${name}: `, element("b", {}, condition.length > 2 ? `${shown} +${condition.length - 2}` : shown)];
}

function operators({ gte, lte, prefix, ...others }) {
  if (prefix !== undefined) return `${prefix}…`;
  if (Object.keys(others).length) return "as in the URL";
  if (gte === undefined) return `up to ${lte}`;
  return lte === undefined ? `from ${gte}` : `${gte} to ${lte}`;
}

function option(name, value, documents, choose) {
  const box = element("input", { type: "checkbox" });
  const values = () => (Array.isArray(chosen.get(name)) ? chosen.get(name) : []);
  box.checked = values().includes(value);
  box.addEventListener("change", () => {
    const others = values().filter((one) => one !== value);
    const now = box.checked ? [...others, value] : others;
    box.closest("fieldset").querySelectorAll(".further input").forEach((input) => (input.value = ""));
    choose(now.length ? now : null);
  });
  return element("label", { class: "check" }, box, element("span", { dir: "auto" }, String(value)),
    element("small", {}, String(documents)));
}

/** Inputs for values that are not listed; they replace checked ones. */
function further({ name, values }, choose) {
  const numbers = values.every(({ value }) => typeof value === "number");
  const labels = numbers ? { gte: "from", lte: "to" } : { prefix: "or begins with" };
  const condition = chosen.get(name);
  const inputs = Object.entries(labels).map(([operator, text]) => {
    const input = element("input", { type: numbers ? "number" : "text", name: operator, step: "any", autocomplete: "off" });
    input.value = (!Array.isArray(condition) && condition?.[operator]) ?? "";
    return [input, element("label", {}, text, input)];
  });
  for (const [input] of inputs) {
    input.addEventListener("change", () => {
      const given = inputs.map(([one]) => one).filter(({ value }) => value.trim());
      const pairs = given.map((one) => [one.name, numbers ? Number(one.value) : one.value.trim()]);
      input.closest("fieldset").querySelectorAll("[type=checkbox]").forEach((box) => (box.checked = false));
      choose(pairs.length ? Object.fromEntries(pairs) : null);
    });
  }
  return [element("div", { class: "further" }, ...inputs.map(([, label]) => label))];
}

addEventListener("pointerdown", ({ target }) => {
  for (const box of document.querySelectorAll("details.filter[open]")) {
    if (!box.contains(target)) box.open = false;
  }
});

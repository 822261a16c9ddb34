// Filters on metadata: a drop-down for each field, with the commonest values of its documents and,
// where there are more, a range of numbers or the beginning of a text.
import { element } from "./results.js";

const chosen = new Map(); // field -> what /v1/search takes: a list of values, or operators

/** Return what /v1/search takes as `where`; undefined where nothing is chosen. */
export const conditions = () => (chosen.size ? Object.fromEntries(chosen) : undefined);

/** Choose what an address said, and nothing else. */
export function restoreConditions(where) {
  chosen.clear();
  for (const [field, told] of Object.entries(where ?? {})) {
    chosen.set(field, told && typeof told === "object" ? told : [told]);
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

/** The values of the card, and those that an address chose besides. */
function listed({ name, values }) {
  const known = new Map(values.map(({ value, documents }) => [value, documents]));
  const told = chosen.get(name);
  for (const value of Array.isArray(told) ? told : []) if (!known.has(value)) known.set(value, "");
  return [...known];
}

function headline(name) {
  const told = chosen.get(name);
  if (!told) return [name];
  if (!Array.isArray(told)) return [`${name} `, element("b", {}, operators(told))];
  const shown = told.slice(0, 2).join(", ");
  return [`${name}: `, element("b", {}, told.length > 2 ? `${shown} +${told.length - 2}` : shown)];
}

function operators({ gte, lte, prefix, ...others }) {
  if (prefix !== undefined) return `${prefix}…`;
  if (Object.keys(others).length) return "as in the address";
  if (gte === undefined) return `up to ${lte}`;
  return lte === undefined ? `from ${gte}` : `${gte} to ${lte}`;
}

function option(name, value, documents, choose) {
  const box = element("input", { type: "checkbox" });
  const told = () => (Array.isArray(chosen.get(name)) ? chosen.get(name) : []);
  box.checked = told().includes(value);
  box.addEventListener("change", () => {
    const others = told().filter((one) => one !== value);
    const now = box.checked ? [...others, value] : others;
    box.closest("fieldset").querySelectorAll(".further input").forEach((input) => (input.value = ""));
    choose(now.length ? now : null);
  });
  return element("label", { class: "check" }, box, element("span", { dir: "auto" }, String(value)),
    element("small", {}, String(documents)));
}

/** Inputs for what the listed values leave out; they take the place of ticked ones. */
function further({ name, values }, choose) {
  const numbers = values.every(({ value }) => typeof value === "number");
  const asked = numbers ? { gte: "from", lte: "to" } : { prefix: "or begins with" };
  const told = chosen.get(name);
  const inputs = Object.entries(asked).map(([operator, text]) => {
    const input = element("input", { type: numbers ? "number" : "text", name: operator, step: "any", autocomplete: "off" });
    input.value = (!Array.isArray(told) && told?.[operator]) ?? "";
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

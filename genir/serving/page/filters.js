// Metadata filters: a drop-down for each field with its most frequent values and, if there are more,
// inputs for a range of numbers or a text prefix. Values are counted within the query's best results.
import { element } from "./elements.js";

const chosen = new Map(); // field -> condition for /v1/search: a list of values, or operators
let counts = null; // field -> values with their numbers within the query; null before a query

/** Return `where` for /v1/search; undefined without filters. */
export const conditions = () => (chosen.size ? Object.fromEntries(chosen) : undefined);

/** Replace the filters by a `where` from the URL. */
export function restoreConditions(where) {
  chosen.clear();
  for (const [field, condition] of Object.entries(where ?? {})) {
    chosen.set(field, condition && typeof condition === "object" ? condition : [condition]);
  }
}

/** Draw a drop-down for each field of the model card into `place`; `changed()` is called after each choice. */
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

/** Show the fields of an answer of /v1/facets; null: the numbers in all documents. */
export function countWithin(fields) {
  counts = fields && new Map(fields.map(({ name, values }) => [name, values]));
  for (const box of document.querySelectorAll(".filter")) box.count();
}

function dropDown(field, changed) {
  const summary = element("summary", {});
  const values = element("div", {});
  const legend = element("legend", {});
  const options = element("fieldset", { class: "panel" }, legend, values);
  const box = element("details", { class: "filter drop", name: "filter" }, summary, options);
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
  if (field.distinct > field.values.length) options.append(...further(field, choose));
  show();
  box.count = () => {
    legend.textContent = counts ? `${field.name}, in the best 100 results` : field.name;
    drawValues(values, field, choose);
  };
  box.count();
  return box;
}

/** Draw the values; a drop-down that is open keeps its order, and the focus its place. */
function drawValues(place, field, choose) {
  const open = place.closest("details").open;
  const before = new Map([...place.children].map((label) => [label.dataset.value, label]));
  const known = listed(field);
  const keys = open ? [...new Set([...before.keys(), ...known.keys()])] : [...known.keys()];
  const labels = keys.map((key) => {
    const [value, documents] = known.get(key) ?? [undefined, 0];
    const label = before.get(key) ?? option(field.name, key, value, choose);
    label.querySelector("input").checked = isChosen(field.name, key);
    label.querySelector("small").textContent = documents;
    return label;
  });
  if (!open || labels.length !== before.size) place.replaceChildren(...labels);
}

/** Key -> [value, number] of the values within the query, or of the model card; chosen ones always. */
function listed(field) {
  const values = counts ? counts.get(field.name) ?? [] : field.values;
  const known = new Map(values.map(({ value, documents }) => [JSON.stringify(value), [value, documents]]));
  const condition = chosen.get(field.name);
  for (const value of Array.isArray(condition) ? condition : []) {
    if (!known.has(JSON.stringify(value))) known.set(JSON.stringify(value), [value, counts ? 0 : ""]);
  }
  return known;
}

const chosenValues = (name) => (Array.isArray(chosen.get(name)) ? chosen.get(name) : []);
const isChosen = (name, key) => chosenValues(name).some((one) => JSON.stringify(one) === key);

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

function option(name, key, value, choose) {
  const box = element("input", { type: "checkbox" });
  box.addEventListener("change", () => {
    const others = chosenValues(name).filter((one) => one !== value);
    const now = box.checked ? [...others, value] : others;
    box.closest("fieldset").querySelectorAll(".further input").forEach((input) => (input.value = ""));
    choose(now.length ? now : null);
  });
  return element("label", { class: "check", "data-value": key }, box,
    element("span", { dir: "auto" }, String(value)), element("small", {}));
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

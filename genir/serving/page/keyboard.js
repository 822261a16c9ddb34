// The keyboard: moving through box and results, and single keys that do one thing each.
const $ = (id) => document.getElementById(id);
const box = $("query");
const WRITING = "input:not([type=checkbox]), textarea, select, [contenteditable]";
const NAME = "genir-keys"; // whether single letters work: WCAG 2.1.4 asks for a way to stop them

/** What the arrows move through in the view that is shown. */
export const targets = () =>
  [...document.querySelectorAll("main > section:not([hidden]) :is(.target, button.leaf)")];

/** Move the focus through box and results: -1 is the box. */
function move(by) {
  const all = targets();
  const place = all.indexOf(document.activeElement) + by;
  const next = place < 0 ? box : all[Math.min(place, all.length - 1)];
  next?.focus();
  if (next === box) scrollTo({ top: 0 });
  else next?.closest("li").scrollIntoView({ block: "nearest" });
}

function stored() {
  try {
    return localStorage.getItem(NAME) !== "off";
  } catch {
    return true;
  }
}

/** Listen: `keys` says what each key does outside a text field, `escape` what Escape does. */
export function listen(keys, escape) {
  $("letters").checked = stored();
  $("letters").addEventListener("change", () => {
    try {
      localStorage.setItem(NAME, $("letters").checked ? "on" : "off");
    } catch {
      // then the choice lasts as long as the page
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return; // it has its own keys
    if (handled(event, keys, escape)) event.preventDefault();
  });
}

function handled(event, keys, escape) {
  const { key, target } = event;
  const writing = target.matches?.(WRITING);
  const inside = writing || target.matches?.(".target, .leaf, body");
  if (key === "Escape") escape();
  else if (key === "ArrowDown" && inside) move(1);
  else if (key === "ArrowUp" && inside) move(-1);
  else if (!writing && key in keys && $("letters").checked) return keys[key](target) !== false;
  else return false;
  return true;
}

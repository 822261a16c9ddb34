// Keyboard control: Ctrl/Cmd-K, arrow keys for the search box and results, and single-key shortcuts.
const $ = (id) => document.getElementById(id);
const box = $("query");
const WRITING = "input:not([type=checkbox]), textarea, select, [contenteditable]";
const NAME = "genir-keys"; // whether single-key shortcuts are on: WCAG 2.1.4 requires a way to turn them off

/** The elements that the arrow keys move through in the current view. */
export const targets = () =>
  [...document.querySelectorAll("main > section:not([hidden]) :is(.target, button.leaf)")];

/** Move the focus through the search box (index -1) and the results. */
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

/** Move the focus to the search box and select its text. */
export function focusBox() {
  box.focus();
  box.select();
}

const isFocusKey = (event) =>
  event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey;

/** Install the handlers: `keys` maps keys outside text fields to functions; `escape` is for Escape. */
export function listen(keys, escape) {
  $("letters").checked = stored();
  $("letters").addEventListener("change", () => {
    try {
      localStorage.setItem(NAME, $("letters").checked ? "on" : "off");
    } catch {
      // without storage, the choice lasts until the page is closed
    }
  });
  document.addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]")) return; // dialogs handle their own keys
    if (isFocusKey(event)) {
      event.preventDefault();
      return focusBox();
    }
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
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

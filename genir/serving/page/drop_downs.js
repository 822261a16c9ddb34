// Drop-downs: <details class="drop"> elements that close when the user turns elsewhere.
import { element } from "./elements.js";

/** A drop-down with actions: [text, function] pairs. */
export function menuOf(label, actions) {
  const summary = element("summary", { class: "act", "aria-label": label, title: label }, "⋯");
  const buttons = actions.map(([text, act]) => {
    const button = element("button", { type: "button" }, text);
    button.addEventListener("click", act);
    return button;
  });
  return element("details", { class: "drop menu" }, summary, element("div", { class: "panel" }, ...buttons));
}

/** Close the open drop-down and move the focus to its summary; return whether one was open. */
export function closeDropDown() {
  const open = document.querySelector("details.drop[open]");
  if (!open) return false;
  open.open = false;
  open.querySelector("summary").focus();
  return true;
}

function closeOthers(target) {
  for (const one of document.querySelectorAll("details.drop[open]")) {
    if (!one.contains(target)) one.open = false;
  }
}

addEventListener("pointerdown", ({ target }) => closeOthers(target));
addEventListener("focusin", ({ target }) => closeOthers(target));
addEventListener("click", ({ target }) => {
  const menu = target.closest?.(".menu .panel :is(button, a)")?.closest("details");
  if (menu) menu.open = false;
});

// Messages beside the results: number of results, errors, completed actions.
import { counted, element } from "./elements.js";

const $ = (id) => document.getElementById(id);

/** Number of results, and of the documents that they were chosen from if it is known. */
export function summary(found, total, filtered) {
  if (!total) return counted(found, "result");
  return `${found} of ${counted(total, filtered ? "matching document" : "document")}`;
}

/** Show a message in place of the results, with buttons for possible actions. */
export function notice(title, text, ...buttons) {
  $("notice").replaceChildren(element("h2", {}, title), element("p", {}, text), ...buttons);
}

/** Show a completed action for some seconds, with a button `name` that calls `act`. */
export function toast(text, name, act) {
  const button = element("button", { type: "button", class: "plain" }, name);
  const close = () => $("toast").replaceChildren();
  button.addEventListener("click", () => (close(), act()));
  const line = element("p", {}, element("span", {}, text), button);
  $("toast").replaceChildren(line);
  setTimeout(() => line.isConnected && !line.contains(document.activeElement) && close(), 12_000);
}

// Messages beside the results: search time, errors, completed actions.
import { counted, element } from "./results.js";

const $ = (id) => document.getElementById(id);

/** Number of results, number of documents if known, and search time. */
export function timing(found, documents, ms) {
  const time = ms < 10 ? ms.toFixed(1) : Math.round(ms);
  const whole = documents ? `${found} of ${counted(documents, "document")}` : counted(found, "result");
  const line = element("span", {}, element("b", {}, `${whole} in ${time} ms`));
  line.append(" no index consulted: the model itself generated these identifiers");
  return line;
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

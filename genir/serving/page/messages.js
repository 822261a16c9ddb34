// What the page says beside its results: how long it took, what went wrong, what was done.
import { element } from "./results.js";

const $ = (id) => document.getElementById(id);
const count = new Intl.NumberFormat("en");

/** How many results there are, of how many documents (if that is known), and the time it took. */
export function timing(found, documents, ms) {
  const time = ms < 10 ? ms.toFixed(1) : Math.round(ms);
  const whole = documents ? ` of ${count.format(documents)} documents` : " results";
  const line = element("span", {}, element("b", {}, `${found}${whole} in ${time} ms`));
  line.append(" no index consulted: the model itself emitted these identifiers");
  return line;
}

/** Say in the place of results why there are none; `buttons` are what can be done about it. */
export function notice(title, text, ...buttons) {
  $("notice").replaceChildren(element("h2", {}, title), element("p", {}, text), ...buttons);
}

/** Say for a while what was done; `act` is what the button called `name` does. */
export function toast(text, name, act) {
  const button = element("button", { type: "button", class: "plain" }, name);
  const close = () => $("toast").replaceChildren();
  button.addEventListener("click", () => (close(), act()));
  const line = element("p", {}, element("span", {}, text), button);
  $("toast").replaceChildren(line);
  setTimeout(() => line.isConnected && !line.contains(document.activeElement) && close(), 12_000);
}

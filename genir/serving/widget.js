// A search dialog for any site, by one script tag:
//   <script src="https://search.example.org/widget.js" data-token="genir_..." defer></script>
// It asks the server that the script came from. Options (data attributes): token, label, placeholder,
// trigger (CSS selector of elements that open the dialog; without it, a button is added), hits,
// theme (light, dark; otherwise the page's colour scheme), accent, background, text, font.
// The site's style sheets may set --genir-accent, --genir-background, --genir-text and --genir-font.
(() => {
  "use strict";
  if (document.getElementById("genir-search")) return; // the script is on the page twice
  const script = document.currentScript;
  const { token, trigger, theme, label = "Search", placeholder = "Ask in your own words", hits = "8" } = script.dataset;
  const server = new URL(".", script.src);
  const PAUSE_MS = 140; // after the last key until a search starts
  const UNSURE = 0.5; // confidence below which the dialog says that nothing fits well
  const COLOURS = ["accent", "background", "text", "font"];
  const STYLE = `
    :host {
      --accent: var(--genir-accent, light-dark(#0b6e5f, #72d8bf));
      --paper: var(--genir-background, light-dark(#fff, #1a1d1a));
      --ink: var(--genir-text, light-dark(#1c1b18, #ecebe4));
      --soft: color-mix(in srgb, var(--ink) 72%, var(--paper));
      --line: color-mix(in srgb, var(--ink) 16%, var(--paper));
      --edge: color-mix(in srgb, var(--ink) 52%, var(--paper));
      --tint: color-mix(in srgb, var(--accent) 13%, var(--paper));
      font: 400 16px/1.5 var(--genir-font, system-ui, sans-serif);
      letter-spacing: normal; text-align: start;
    }
    :host([data-theme="light"]) { color-scheme: light; }
    :host([data-theme="dark"]) { color-scheme: dark; }
    * { box-sizing: border-box; margin: 0; }
    button, input { font: inherit; color: inherit; }
    .open { position: fixed; inset: auto 1.25rem 1.25rem auto; z-index: 9; display: flex; gap: .6rem; align-items: center;
      padding: .6rem 1rem; border: 1px solid var(--edge); border-radius: 99px; background: var(--paper); color: var(--ink);
      box-shadow: 0 4px 20px rgb(0 0 0 / 18%); cursor: pointer; }
    :focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
    kbd { padding: 0 .4em; border: 1px solid var(--line); border-radius: 5px; font: .78em/1.6 ui-monospace, monospace; color: var(--soft); }
    dialog { inline-size: min(100% - 2rem, 40rem); max-block-size: min(80dvh, 44rem); margin: 8dvh auto auto; padding: 0;
      border: 1px solid var(--edge); border-radius: 14px; background: var(--paper); color: var(--ink);
      box-shadow: 0 20px 70px rgb(0 0 0 / 35%); overflow: hidden; }
    dialog[open] { display: flex; flex-direction: column; }
    ::backdrop { background: rgb(0 0 0 / 50%); }
    .bar { display: flex; align-items: center; gap: .5rem; flex: none; padding: .3rem .6rem .3rem 1rem; border-block-end: 1px solid var(--line); }
    .bar:focus-within { box-shadow: inset 0 -2px var(--accent); }
    input { flex: 1; min-inline-size: 0; padding: .75rem 0; border: 0; outline: 0; background: none; font-size: 1.05rem; appearance: none; }
    input::placeholder { color: var(--soft); opacity: 1; }
    .close { padding: .3rem .7rem; border: 1px solid var(--line); border-radius: 8px; background: none; font-size: .85rem; cursor: pointer; }
    .status { flex: none; padding: .5rem 1rem; font-size: .85rem; color: var(--soft); }
    .list { overflow: auto; overscroll-behavior: contain; padding: 0 .5rem .5rem; }
    .hit { display: block; padding: .6rem .7rem; border-radius: 9px; color: inherit; text-decoration: none; overflow-wrap: anywhere; }
    .hit[aria-selected="true"] { background: var(--tint); box-shadow: inset 3px 0 var(--accent); }
    .hit b { display: block; font-weight: 600; }
    .hit small { display: block; font-size: .8rem; color: var(--soft); }
    .hit span { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden; font-size: .9rem; }
    mark { background: none; color: inherit; font-weight: 600; text-decoration: underline 2px var(--accent); text-underline-offset: 3px; }
    .keys { display: flex; gap: 1rem; flex: none; padding: .5rem 1rem; border-block-start: 1px solid var(--line); font-size: .8rem; color: var(--soft); }
    @media (max-width: 40rem) {
      dialog { inline-size: 100%; max-inline-size: none; block-size: 100dvh; max-block-size: none; margin: 0; border: 0; border-radius: 0; }
      .keys { display: none; }
    }
    @media (hover: none) { .open kbd { display: none; } }
    @media (forced-colors: active) { .hit[aria-selected="true"] { outline: 2px solid; } }`;

  // --- elements --------------------------------------------------------------------------------

  function element(name, properties = {}, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(properties)) node.setAttribute(key, value);
    node.append(...children); // texts become text nodes, never markup
    return node;
  }

  const apple = /Mac|iPhone|iPad/.test(navigator.platform);
  const host = element("div", { id: "genir-search" });
  const input = element("input", {
    type: "text", role: "combobox", "aria-label": label, "aria-expanded": "false", "aria-controls": "list",
    "aria-autocomplete": "list", autocomplete: "off", autocapitalize: "off", spellcheck: "false",
    enterkeyhint: "search", maxlength: "2000", dir: "auto", placeholder,
  });
  const close = element("button", { type: "button", class: "close" }, "Close");
  const status = element("p", { class: "status", role: "status" });
  const list = element("div", { id: "list", class: "list", role: "listbox", "aria-label": "Results" });
  const key = (name, does) => element("span", {}, element("kbd", {}, name), ` ${does}`);
  const dialog = element("dialog", { "aria-label": label },
    element("div", { class: "bar" }, input, close), status, list,
    element("div", { class: "keys", "aria-hidden": "true" }, key("↑↓", "move"), key("Enter", "open"), key("Esc", "close")));

  // --- search ----------------------------------------------------------------------------------

  let timer = 0;
  let running = new AbortController();
  let options = []; // the results on display
  let selected = -1;

  function schedule() {
    clearTimeout(timer);
    running.abort();
    timer = setTimeout(search, PAUSE_MS);
  }

  async function search() {
    clearTimeout(timer);
    running.abort();
    running = new AbortController();
    const { signal } = running;
    const query = input.value.trim();
    if (!query) return draw([], "", "");
    const headers = { "Content-Type": "application/json" };
    if (token) headers.Authorization = `Bearer ${token}`;
    const body = JSON.stringify({ query, k: Number(hits), shares: true });
    try {
      const response = await fetch(new URL("v1/search", server), { method: "POST", headers, body, signal });
      const answer = await response.json();
      if (!response.ok) return draw([], "", answer.detail);
      const found = `${answer.hits.length} result${answer.hits.length === 1 ? "" : "s"}`;
      const unsure = answer.confidence < UNSURE ? ". Nothing fits well; these are the nearest pages." : "";
      draw(answer.hits, query, answer.hits.length ? found + unsure : "No results");
    } catch (error) {
      if (!signal.aborted) draw([], "", "The search server does not answer.");
    }
  }

  function draw(found, query, message) {
    status.textContent = message;
    options = found.map((hit, place) => option(hit, place, query));
    list.replaceChildren(...options);
    list.scrollTop = 0;
    list.hidden = !found.length;
    input.setAttribute("aria-expanded", String(found.length > 0));
    select(found.length ? 0 : -1);
  }

  function option(hit, place, query) {
    const address = webAddress(hit.url) ?? new URL(documentPath(hit.key), server);
    const node = element("a", { id: `hit-${place}`, class: "hit", role: "option", tabindex: "-1", href: address.href },
      element("b", { dir: "auto" }, ...marked(hit.title || hit.key, query)));
    const steps = trail(hit);
    if (steps.length) node.append(element("small", { dir: "auto" }, steps.join(" › ")));
    if (hit.snippet) node.append(element("span", { dir: "auto" }, ...marked(hit.snippet, query)));
    node.addEventListener("pointermove", () => select(place));
    node.addEventListener("click", () => dialog.close());
    return node;
  }

  /** Return a URL only for http(s): documents may also contain `javascript:` URLs. */
  function webAddress(url) {
    if (!URL.canParse(url)) return null;
    const address = new URL(url);
    return /^https?:$/.test(address.protocol) ? address : null;
  }

  /** The server's own page of a document. */
  function documentPath(key) {
    const steps = key.split("/");
    const plain = !steps.some((step) => ["", ".", ".."].includes(step));
    return `documents/${plain ? steps.map(encodeURIComponent).join("/") : encodeURIComponent(key)}`;
  }

  function trail({ breadcrumb, title, url, unit }) {
    if (breadcrumb?.some((step) => step !== title)) return breadcrumb;
    const steps = (webAddress(url)?.pathname ?? "").split("/").filter(Boolean).map(decoded);
    const clean = steps.map((step) => step.replace(/\.(html?|md)$/, "").replace(/[-_]/g, " ")).filter((step) => step !== "index");
    return unit?.heading ? [...clean, unit.heading] : clean;
  }

  function decoded(step) {
    try {
      return decodeURIComponent(step);
    } catch {
      return step; // a stray % is not an escape
    }
  }

  // --- marks -----------------------------------------------------------------------------------

  const segmenter = new Intl.Segmenter(undefined, { granularity: "word" });
  const words = (text) => [...segmenter.segment(text)];

  const COMMON = new Set("a an and are as at be by can do for from how i in is it my of on or that the this to what with you".split(" "));

  /** Split a text into text nodes and <mark>s around the words of the query. */
  function marked(text, query) {
    const asked = words(query.toLowerCase()).filter((one) => one.isWordLike).map((one) => one.segment);
    const wanted = asked.filter((word) => !COMMON.has(word));
    return words(text).map(({ segment, isWordLike }) =>
      isWordLike && wanted.some((word) => alike(word, segment.toLowerCase())) ? element("mark", {}, segment) : segment);
  }

  /** Whether two words are equal or differ in their ending. */
  function alike(one, other) {
    const shared = Math.max(4, Math.min(one.length, other.length) - 1);
    return one === other || (one.slice(0, shared) === other.slice(0, shared) && Math.abs(one.length - other.length) < 4);
  }

  // --- keyboard and opening ----------------------------------------------------------------------

  function select(place) {
    selected = place;
    options.forEach((one, n) => one.setAttribute("aria-selected", String(n === place)));
    if (place < 0) return input.removeAttribute("aria-activedescendant");
    input.setAttribute("aria-activedescendant", options[place].id);
    options[place].scrollIntoView({ block: "nearest" });
  }

  function open() {
    if (dialog.open) return input.select();
    dialog.showModal();
    input.focus();
    input.select();
  }

  const step = { ArrowDown: 1, ArrowUp: -1 };
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key in step && options.length) select((selected + step[event.key] + options.length) % options.length);
    else if (event.key === "Enter" && options[selected]) {
      const { ctrlKey, metaKey, shiftKey } = event; // as for a click on the link: another tab or window
      options[selected].dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true, ctrlKey, metaKey, shiftKey }));
    } else return;
    event.preventDefault();
  });
  input.addEventListener("input", (event) => event.isComposing || schedule());
  input.addEventListener("compositionend", schedule);
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close()); // the backdrop
  dialog.addEventListener("keydown", (event) => event.stopPropagation()); // the site's own shortcuts
  addEventListener("keydown", (event) => {
    if (event.key?.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) return;
    event.preventDefault();
    open();
  }, true);
  addEventListener("click", (event) => {
    if (!trigger || !event.target.closest?.(trigger)) return;
    event.preventDefault();
    open();
  });

  // --- start -------------------------------------------------------------------------------------

  for (const name of COLOURS) if (script.dataset[name]) host.style.setProperty(`--genir-${name}`, script.dataset[name]);
  if (theme) host.dataset.theme = theme;
  const root = host.attachShadow({ mode: "open" });
  const sheet = new CSSStyleSheet(); // unlike <style>, it is allowed under the site's content security policy
  sheet.replaceSync(STYLE);
  root.adoptedStyleSheets = [sheet];
  if (!trigger) {
    const button = element("button", { type: "button", class: "open" }, label, element("kbd", {}, apple ? "⌘K" : "Ctrl K"));
    button.addEventListener("click", open);
    root.append(button);
  }
  root.append(dialog);
  draw([], "", "");
  const attach = () => document.body.append(host);
  if (document.body) attach();
  else addEventListener("DOMContentLoaded", attach);
})();

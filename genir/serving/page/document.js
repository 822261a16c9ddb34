// The page of a document on a private server: asks for the token, and shows what the server returns.
import { token } from "./api.js";

const locked = document.querySelector("main[data-locked]");

/** Load this page again with the token, and replace the content by that of the answer. */
async function open(main) {
  const headers = { Accept: "text/html", Authorization: `Bearer ${token.get()}` };
  const response = await fetch(location.href, { headers });
  const type = response.headers.get("Content-Type") ?? "";
  if (!type.startsWith("text/html")) {
    const body = await response.json().catch(() => ({}));
    throw new Error(body.detail ?? `The server answered ${response.status}.`);
  }
  const answer = new DOMParser().parseFromString(await response.text(), "text/html");
  document.title = answer.title;
  main.replaceWith(document.adoptNode(answer.querySelector("main")));
}

async function tryToOpen() {
  try {
    await open(locked);
  } catch (error) {
    locked.querySelector("[role=status]").textContent = error.message;
  }
}

if (locked) {
  locked.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    token.set(new FormData(event.target).get("token").trim());
    tryToOpen();
  });
  if (token.get()) tryToOpen();
}

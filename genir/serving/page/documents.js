// Adding and deleting documents, and the token that allows it.
import * as api from "./api.js";
import { element } from "./elements.js";
import { titleOf } from "./results.js";

const $ = (id) => document.getElementById(id);
const REFUSED = [401, 403];

/** Open a dialog; return whether it was submitted and `act` ran without an error. */
function open(name, act) {
  const [dialog, form] = [$(`${name}-dialog`), $(`${name}-form`)];
  const wrong = form.querySelector(".wrong");
  const submit = form.querySelector("[type=submit]");
  if (wrong) wrong.hidden = true;
  return new Promise((resolve) => {
    let done = false;
    form.onsubmit = async (event) => {
      event.preventDefault();
      submit.disabled = true;
      if (wrong) wrong.hidden = true;
      try {
        await act(new FormData(form));
        done = true;
        dialog.close();
      } catch (error) {
        if (wrong) [wrong.hidden, wrong.textContent] = [false, error.message];
      }
      submit.disabled = false;
    };
    dialog.onclose = () => resolve(done);
    dialog.showModal();
  });
}

for (const button of document.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}
$("forget").addEventListener("click", () => {
  api.token.set("");
  $("token-dialog").close("forgotten");
});

// --- token -----------------------------------------------------------------------------------

/** Ask for a token; return whether it has changed. `wrong` is an error to show. */
export async function askForToken(wrong = "") {
  const before = api.token.get();
  $("token-form").reset();
  $("forget").hidden = !before;
  const given = open("token", (form) => api.token.set(form.get("token").trim()));
  const place = $("token-form").querySelector(".wrong");
  [place.hidden, place.textContent] = [!wrong, wrong];
  await given;
  return api.token.get() !== before;
}

/** Run a change; if the server requires a (different) token, ask for one and retry once. */
async function allowed(change) {
  try {
    return await change();
  } catch (error) {
    if (!REFUSED.includes(error.status) || !(await askForToken())) throw error;
    return change();
  }
}

// --- documents -------------------------------------------------------------------------------

/** Ask for a document and add it; return it, or null if the user cancels. */
export async function addDocument(fields) {
  const form = $("add-form");
  $("add-fields").replaceChildren(...fields.map(fieldInput));
  let added = null;
  let taken = ""; // key that exists already, according to the server
  const name = () => {
    form.querySelector("[type=submit]").textContent = taken && taken === form.key.value.trim() ? "Replace it" : "Add";
  };
  form.oninput = name;
  name();
  await open("add", async (given) => {
    const record = recordOf(given, fields);
    try {
      await allowed(() => api.add(record, taken === record._id));
    } catch (error) {
      if (error.status === 409) taken = record._id;
      name();
      throw error;
    }
    added = record;
    form.reset();
  });
  return added;
}

function fieldInput(field) {
  const list = `values-of-${field.name}`;
  return element("label", {}, field.name,
    element("input", { name: `field:${field.name}`, autocomplete: "off", placeholder: "optional", list }),
    element("datalist", { id: list }, ...field.values.map(({ value }) => element("option", { value }))));
}

function recordOf(form, fields) {
  const given = { _id: form.get("key").trim(), title: form.get("title"), text: form.get("text"), url: form.get("url") };
  for (const field of fields) {
    const text = form.get(`field:${field.name}`).trim();
    if (text) given[field.name] = valueOf(field, text);
  }
  return given;
}

/** Convert a text to the type of the field's values; `007` stays text if the field has texts. */
function valueOf({ name, types }, text) {
  const truth = text.toLowerCase();
  const number = Number(text);
  const texts = types.includes("text") || !types.length;
  if (types.includes("boolean") && ["true", "false"].includes(truth)) return truth === "true";
  if (types.includes("number") && Number.isFinite(number) && (!texts || String(number) === text)) return number;
  if (!texts) throw new Error(`${name}: ${text} is not a ${types.join(" or ")}, the type of this field.`);
  return text;
}

/** Ask and delete a hit; return a function that restores it, or null if the user cancels. */
export async function deleteDocument(hit) {
  $("delete-name").textContent = titleOf(hit);
  let whole = null;
  await open("delete", async () => {
    const kept = await allowed(() => api.read(hit.key));
    await allowed(() => api.remove(hit.key));
    whole = kept;
  });
  return whole && (() => allowed(() => api.add(whole)));
}

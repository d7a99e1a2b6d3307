// An item in a dialog: what it is, its code in words, and what is like it.

import { ask, fill, onlyTheLatest } from "./client.js";
import { byId, make } from "./dom.js";
import { tokenTrail } from "./token-parts.js";
import { add } from "./try-it.js";

const LIKE = { text: "Alike by their texts", together: "Had by the same users", sid: "Alike by their tokens" };
const next = onlyTheLatest();

/** The dialog's own buttons. */
export function start() {
  const dialog = byId("item-dialog");
  byId("item-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  addEventListener("hashchange", () => dialog.close());
}

/** Show an item. */
export async function openItem(id) {
  const signal = next();
  const body = byId("item-body");
  const dialog = byId("item-dialog");
  const path = `items/${encodeURIComponent(id)}`;
  await fill(body, async () => {
    const item = await ask(path, { signal });
    const alike = make("div", { className: "alike" });
    byId("item-heading").textContent = item.title || item.item_id;
    body.replaceChildren(
      make("dl", { className: "facts" }, ...facts(item)),
      make("h3", {}, "Its code, token by token"),
      tokenTrail(item.sid, item.tokens),
      alike,
      make("p", { className: "buttons" }, make("button", { type: "button", className: "main", on: { click: () => { dialog.close(); add(item); } } }, "Add to the history")),
    );
    if (!dialog.open) dialog.showModal();
    alike.replaceChildren(...(await Promise.all(Object.keys(LIKE).map((by) => similar(path, by, signal)))).flat());
  });
  if (!dialog.open && !signal.aborted) dialog.showModal();
}

function facts(item) {
  const rows = [["Id", item.item_id], ...Object.entries(item.columns)];
  if (item.text && item.text !== item.title) rows.push(["Text", item.text]);
  const filled = rows.map(([name, value]) => [name, Array.isArray(value) ? value.join(", ") : String(value ?? "")]).filter(([, value]) => value);
  return filled.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)));
}

async function similar(path, by, signal) {
  let found;
  try {
    found = (await ask(`${path}/similar?by=${by}&k=5`, { signal })).items;
  } catch (error) {
    if (error.status === 422) return []; // this model does not know
    throw error;
  }
  if (!found.length) return [];
  const open = (item) => make("li", {}, make("button", { type: "button", className: "title", on: { click: () => openItem(item.item_id) } }, item.title || item.item_id));
  return [make("section", {}, make("h3", {}, LIKE[by]), make("ul", { className: "plain" }, ...found.map(open)))];
}

// The part "A new item": where an item would stand that the catalogue lacks.

import { address, moveTo } from "./address.js";
import { ask, Failure, fill, onlyTheLatest } from "./client.js";
import { byId, make } from "./dom.js";
import { openItem } from "./item.js";
import { tokenTrail } from "./token-parts.js";

const next = onlyTheLatest();
let placed = "";

/** The form. */
export function start() {
  byId("new-item-form").addEventListener("submit", (event) => {
    event.preventDefault();
    place(byId("new-title").value.trim(), byId("new-text").value.trim());
  });
}

/** Show what an address names. */
export async function open(parameters) {
  const [title, text] = ["title", "text"].map((name) => parameters.get(name) ?? "");
  if (address("new-item", { title, text }) === placed || !(title || text)) return;
  byId("new-title").value = title;
  byId("new-text").value = text;
  await place(title, text);
}

async function place(title, text) {
  const signal = next();
  const shown = byId("new-item-place");
  if (!(title || text)) {
    shown.replaceChildren(make("p", { className: "notice" }, "Give it a title or a text first."));
    byId("new-title").focus();
    return;
  }
  placed = address("new-item", { title, text });
  moveTo("new-item", { title, text });
  if (!shown.children.length) shown.replaceChildren(make("p", { className: "soft" }, "Reading its text. The first time takes some seconds."));
  await fill(shown, async () => {
    let found;
    try {
      found = await ask("new-item", { body: { title, text }, signal });
    } catch (error) {
      if (![404, 501].includes(error.status)) throw error;
      byId("new-item-form").hidden = true;
      throw new Failure("This server cannot place new items.", error.status);
    }
    shown.replaceChildren(
      make("section", { className: "panel" }, make("h2", {}, "The code that it would get"), tokenTrail(found.sid, found.tokens)),
      make("section", { className: "panel" }, make("h2", {}, "Its nearest items"), make("ol", { className: "ranked" }, ...found.nearest.map(nearest))),
      make("section", { className: "panel" }, make("h2", {}, "Who would see it first"), ...audience(found.for_users)),
    );
  });
}

function nearest(item) {
  return make(
    "li",
    {},
    make("button", { type: "button", className: "title", on: { click: () => openItem(item.item_id) } }, item.title || item.item_id),
    make("meter", { min: 0, max: 1, value: Math.max(0, item.score), attributes: { "aria-label": "Likeness" } }),
    make("span", { className: "soft number" }, `${Math.round(100 * item.score)} %`),
  );
}

function audience(users) {
  if (!users.length) return [make("p", {}, "Nobody's list would have it among the first ten, by its text alone.")];
  return [
    make("p", { className: "soft" }, "By its text alone: nobody has had it yet."),
    make(
      "ul",
      { className: "plain spread" },
      ...users.slice(0, 20).map((user) =>
        make("li", {}, make("a", { href: address("try-it", { user: user.user_id }) }, `User ${user.user_id}`), make("span", { className: "soft" }, ` at place ${user.rank}`)),
      ),
    ),
  ];
}

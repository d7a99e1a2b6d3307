// Recommended items as rows, and what differs between two lists.

import { count, make } from "./dom.js";
import { member } from "./words.js";

/** Show the items of an answer in the list `ol`. `others`: the ranks of another list by item id, or null. */
export function showList(ol, answer, others, { add, deny, open }) {
  const focused = ol.contains(document.activeElement) ? document.activeElement : null;
  const action = focused?.dataset.action;
  const at = focused ? [...ol.children].indexOf(focused.closest("li")) : -1;
  ol.replaceChildren(
    ...answer.items.map((item) => {
      const title = item.title || item.item_id;
      const button = (name, text, words, act) =>
        make("button", { type: "button", className: "small", textContent: text, title: words, on: { click: () => act(item) }, attributes: { "data-action": name, "aria-label": `${text}: ${title}` } });
      return make(
        "li",
        { attributes: { "data-id": item.item_id } },
        make("span", { className: "rank" }, String(item.rank)),
        make(
          "div",
          { className: "what" },
          make("p", {}, make("button", { type: "button", className: "title", on: { click: () => open({ id: item.item_id, title }) }, attributes: { "data-action": "open" } }, title), others && difference(item, others)),
          item.reason && make("p", { className: "reason" }, reason(item.reason)),
          by(item, answer.method),
        ),
        make("span", { className: "acts" }, button("add", "Add to history", "Add it to the history, as the newest item", add), button("deny", "Not this", "Never recommend it", deny)),
      );
    }),
  );
  if (at >= 0) ol.children[Math.min(at, ol.children.length - 1)]?.querySelector(`[data-action="${action}"]`)?.focus();
}

/** Who proposed an item; nothing where a list is of one recommender alone. */
function by({ proposed_by: names }, method) {
  if (names.length && method !== "fused") return null;
  const tags = names.map((name) => make("span", { className: "tag", title: name }, member(name)));
  return make("p", { className: "by" }, ...(tags.length ? ["Proposed by ", ...tags] : ["Popular: it fills the list"]));
}

/** A reason as a visitor reads it: first the item of the history that this one is like, then what both are about. */
function reason(text) {
  const [about, like] = text.split(/: like (.*)/s);
  if (like) return `Like ${like}: ${about}`;
  return text.startsWith("had before: ") ? text.replace("h", "H") : `About: ${text.replace(/^popular: /, "")}`;
}

/** Ranks by item id. */
export const ranks = (answer) => new Map(answer.items.map((item) => [item.item_id, item.rank]));

function difference(item, others) {
  const other = others.get(item.item_id);
  if (other === undefined) return make("span", { className: "mark new" }, "only here");
  const moved = other - item.rank;
  if (moved === 0) return null;
  const words = `${Math.abs(moved)} ${moved > 0 ? "higher" : "lower"}`;
  return make("span", { className: "mark", title: `${words} than in the other list` }, `${moved > 0 ? "▲" : "▼"} ${words}`);
}

/** What is to be said of an answer: what was left out, what nobody knows, why it is short. */
export function remarks(answer, asked) {
  const said = [];
  if (answer.left_out.length) {
    const names = answer.left_out.map(member).join(", ");
    said.push(`${names}: no time before the server's deadline. The other recommenders made this list.`);
  }
  if (answer.unknown.length) {
    const some = answer.unknown.slice(0, 5).join(", ");
    const more = answer.unknown.length > 5 ? ` and ${answer.unknown.length - 5} more` : "";
    said.push(`Not in the catalogue, and so without effect: ${some}${more}.`);
  }
  if (!answer.items.length) said.push("No item fits the filters.");
  else if (answer.items.length < asked) said.push(`Only ${count(answer.items.length, "item")} can be recommended here.`);
  return said.map((text) => make("p", {}, text));
}

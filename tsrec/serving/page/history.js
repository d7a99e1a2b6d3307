// The history as a list that can be put in order: by dragging, or with the buttons of each row.

import { make } from "./dom.js";

const SHOWN = 30; // of a long history: the last ones

/** Show `entries` ({id, title, known}) in the list `ol`; `change(entries, what)` is called with a new order or fewer of
 * them, and with what was done in words. */
export function showHistory(ol, entries, { all, change, showAll, open }) {
  const hidden = all ? 0 : Math.max(0, entries.length - SHOWN);
  const focused = ol.contains(document.activeElement) ? document.activeElement.dataset.action : null;
  const at = focused ? [...ol.querySelectorAll("li.entry")].indexOf(document.activeElement.closest("li")) : -1;

  const move = (from, to) => {
    if (to < hidden || to >= entries.length) return;
    const moved = [...entries];
    moved.splice(to, 0, ...moved.splice(from, 1));
    change(moved, `${name(entries[from])} is now at place ${to + 1} of ${entries.length}`);
    ol.querySelectorAll("li.entry")[to - hidden]?.querySelector(`[data-action="${to < from ? "earlier" : "later"}"]`)?.focus();
  };
  const rows = entries.slice(hidden).map((entry, place) => {
    const number = place + hidden;
    const button = (action, sign, words, act) =>
      make("button", { type: "button", className: "icon", textContent: sign, title: words, on: { click: act }, attributes: { "data-action": action, "aria-label": `${words}: ${name(entry)}` } });
    const first = number === hidden;
    const last = number === entries.length - 1;
    const earlier = button("earlier", "↑", "Earlier", () => move(number, number - 1));
    const later = button("later", "↓", "Later", () => move(number, number + 1));
    // Not `disabled`: the button that has just been pressed keeps the focus.
    if (first) earlier.setAttribute("aria-disabled", "true");
    if (last) later.setAttribute("aria-disabled", "true");
    const row = make(
      "li",
      { className: entry.known ? "entry" : "entry unknown" },
      make("span", { className: "grip", title: "Drag to another place", attributes: { "aria-hidden": "true" } }, "⠿"),
      make("button", { type: "button", className: "title", on: { click: () => open(entry) }, attributes: { "data-action": "open" } }, name(entry)),
      entry.known ? null : make("span", { className: "tag" }, "not in the catalogue"),
      make("span", { className: "moves" }, earlier, later, button("remove", "×", "Remove", () => {
        change(entries.filter((_, other) => other !== number), `${name(entry)} is removed`);
      })),
    );
    return row;
  });
  const more = hidden
    ? [make("li", { className: "more" }, make("button", { type: "button", className: "quiet", on: { click: showAll } }, `Show the ${hidden.toLocaleString("en")} before these`))]
    : [];
  ol.replaceChildren(...more, ...rows);
  rows.forEach((row, place) => {
    makeDraggable(row, () => {
      const to = [...ol.querySelectorAll("li.entry")].indexOf(row);
      if (to !== place) move(place + hidden, to + hidden);
    });
  });
  if (at >= 0) {
    const same = rows[Math.min(at, rows.length - 1)]?.querySelector(`[data-action="${focused}"]`);
    (same ?? document.getElementById("picker-1"))?.focus();
  }
}

/** Let a row be dragged by its grip, by mouse, pen or finger; `drop` is called where it is let go. */
function makeDraggable(row, drop) {
  const grip = row.querySelector(".grip");
  grip.addEventListener("pointerdown", (down) => {
    if (down.button !== 0) return;
    down.preventDefault();
    grip.setPointerCapture(down.pointerId);
    row.classList.add("dragged");
    // The neighbours are moved, never the row itself: a moved element would lose the pointer.
    const follow = (event) => {
      const before = row.previousElementSibling;
      const after = row.nextElementSibling;
      if (before?.matches(".entry") && event.clientY < middle(before)) row.after(before);
      else if (after && event.clientY > middle(after)) row.before(after);
    };
    const end = () => {
      grip.removeEventListener("pointermove", follow);
      row.classList.remove("dragged");
      drop();
    };
    grip.addEventListener("pointermove", follow);
    grip.addEventListener("lostpointercapture", end, { once: true });
  });
}

const middle = (row) => row.getBoundingClientRect().top + row.offsetHeight / 2;
const name = (entry) => entry.title || entry.id;

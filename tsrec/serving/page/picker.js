// A search field for items: type words, choose with the mouse or the arrow keys.

import { ask, Failure, isAbort, onlyTheLatest } from "./client.js";
import { announce, count, debounced, make } from "./dom.js";

const SHOWN = 8;
const TYPING = 150; // milliseconds without a key
let made = 0;

/** Make a search field in `holder`; `choose` is called with an item, `{item_id, title}`. */
export function picker(holder, label, placeholder, choose) {
  const id = `picker-${(made += 1)}`;
  const list = make("ul", { id: `${id}-list`, className: "found", hidden: true, attributes: { role: "listbox", "aria-label": label } });
  const input = make("input", {
    id,
    type: "text",
    placeholder,
    autocomplete: "off",
    maxLength: 200,
    attributes: { role: "combobox", "aria-expanded": "false", "aria-controls": list.id, "aria-autocomplete": "list", "aria-label": label },
  });
  holder.append(input, list);
  const next = onlyTheLatest();
  let found = [];
  let foundFor = null; // the words that they were found for
  let takesFirst = false; // Enter came before its answer
  let wanted = false; // a search that is due soon
  let active = -1;

  const close = () => {
    next();
    list.hidden = true;
    active = -1;
    takesFirst = wanted = false;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const open = () => {
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
  };
  const point = (to) => {
    active = to;
    [...list.children].forEach((option, place) => option.setAttribute("aria-selected", String(place === active)));
    list.children[active]?.scrollIntoView({ block: "nearest" });
    if (active >= 0) input.setAttribute("aria-activedescendant", `${id}-${active}`);
    else input.removeAttribute("aria-activedescendant");
  };
  const take = (item) => {
    input.value = "";
    close();
    choose(item);
    input.focus();
  };
  const say = (text) => {
    found = [];
    takesFirst = false;
    list.replaceChildren(make("li", { className: "none", attributes: { role: "option", "aria-disabled": "true" } }, text));
    open();
  };
  const search = async () => {
    const signal = next();
    const query = input.value;
    try {
      const answer = await ask(`items?${new URLSearchParams({ query, limit: SHOWN })}`, { signal });
      if (document.activeElement !== input) return;
      if (!answer.items.length) return say("No title has these words.");
      found = answer.items;
      foundFor = query;
      if (takesFirst) return take(found[0]);
      list.replaceChildren(
        ...found.map((item, place) =>
          make(
            "li",
            {
              id: `${id}-${place}`,
              attributes: { role: "option", "aria-selected": "false" },
              on: { mousedown: (event) => event.preventDefault(), click: () => take(item), mousemove: () => active !== place && point(place) },
            },
            make("span", { className: "name" }, item.title || item.item_id),
            make("span", { className: "soft" }, brief(item)),
          ),
        ),
      );
      open();
      point(input.value.trim() ? 0 : -1);
      announce(`${count(answer.total, "item")} found`);
    } catch (error) {
      if (isAbort(error)) return;
      if (!(error instanceof Failure)) throw error;
      say(error.message);
    }
  };
  const searchIfWanted = debounced(() => wanted && search(), TYPING);
  const searchSoon = () => {
    wanted = true;
    searchIfWanted();
  };

  input.addEventListener("input", () => {
    takesFirst = false;
    searchSoon();
  });
  input.addEventListener("focus", () => input.value || searchSoon());
  input.addEventListener("click", () => list.hidden && searchSoon());
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !list.hidden) {
      event.preventDefault();
      close();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) return void search();
      const step = event.key === "ArrowDown" ? 1 : -1;
      if (found.length) point((active + step + found.length) % found.length);
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (foundFor !== input.value && input.value.trim()) {
        takesFirst = true;
        search();
      } else if (!list.hidden && found[active]) take(found[active]);
    }
  });
  return input;
}

/** What tells an item from others with such a title: the first columns that hold a short text. */
function brief(item) {
  const texts = Object.values(item.columns).map((value) => (Array.isArray(value) ? value.join(", ") : String(value ?? "")));
  return texts.filter((text) => text && text.length <= 60).slice(0, 2).join(" · ");
}

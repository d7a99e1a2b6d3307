// The part "What tokens mean": the tree of the items' codes, level by level, and a search.

import { opened } from "./address.js";
import { ask, fill, onlyTheLatest } from "./client.js";
import { byId, count, debounced, make } from "./dom.js";
import { openItem } from "./item.js";
import { bare, keywords, tokenAddress, tokenTrail } from "./token-parts.js";

const nextTree = onlyTheLatest();
const nextFound = onlyTheLatest();

/** The search field. */
export function start() {
  byId("token-query").addEventListener("input", debounced(search, 200));
}

/** Show the token that an address names, or a whole level. */
export async function open(parameters) {
  const signal = nextTree();
  const tree = byId("token-tree");
  const path = (parameters.get("path") ?? "").split(".").filter(Boolean);
  const level = Math.max(1, Number(parameters.get("level")) || 1);
  opened("tokens", { path: path.join("."), level: path.length || level === 1 ? "" : level });
  await fill(tree, async () => {
    const made = path.length ? await oneToken(path, signal) : await wholeLevel(level, signal);
    const came = tree.contains(document.activeElement); // by a link that goes now
    tree.replaceChildren(...made);
    if (!came) return;
    tree.focus({ preventScroll: true });
    if (tree.getBoundingClientRect().top < 0) tree.scrollIntoView();
  });
}

async function wholeLevel(level, signal) {
  const { levels } = await ask("tokens", { signal });
  const chosen = levels[Math.min(level, levels.length) - 1];
  const links = levels.map((each) =>
    make("a", { href: each.level === 1 ? "#tokens" : `#tokens?level=${each.level}`, attributes: each === chosen ? { "aria-current": "true" } : {} }, `Level ${each.level}`),
  );
  return [
    make("nav", { className: "levels", attributes: { "aria-label": "Levels" } }, ...links),
    make("p", { className: "soft" }, `${count(chosen.tokens.length, "token")}, those with most items first.`),
    cards(chosen.tokens, []),
  ];
}

async function oneToken(path, signal) {
  const spelled = path.map((token) => `<${token}>`);
  const above = spelled.slice(0, -1);
  const query = above.length ? `?${new URLSearchParams({ under: above.join(",") })}` : "";
  const token = await ask(`tokens/${encodeURIComponent(path.at(-1))}${query}`, { signal });
  const crumbs = spelled.map((each, place) =>
    make("li", {}, place === path.length - 1 ? make("span", { className: "code", attributes: { "aria-current": "page" } }, each) : make("a", { className: "code", href: tokenAddress(path.slice(0, place + 1)) }, each)),
  );
  const below = token.children.length
    ? [make("h2", {}, `What comes next: level ${token.level + 1}`), make("p", { className: "soft" }, `${count(token.children.length, "token")} among these items.`), cards(token.children, path)]
    : [];
  return [
    make("nav", { className: "crumbs", attributes: { "aria-label": "Path" } }, make("ol", {}, make("li", {}, make("a", { href: "#tokens" }, "All tokens")), ...crumbs)),
    make(
      "article",
      { className: "panel token" },
      make("h2", {}, make("span", { className: "code" }, token.token), ` ${count(token.n_items, "item")}`),
      make("p", { className: "big" }, keywords(token.keywords)),
      saysMore(token) && make("p", {}, make("span", { className: "soft" }, "In words: "), token.description),
      make("h3", {}, "Its commonest items"),
      make(
        "ul",
        { className: "plain spread" },
        ...token.commonest.map((item) => make("li", {}, make("button", { type: "button", className: "title", on: { click: () => openItem(item.item_id) } }, item.title || item.item_id))),
      ),
    ),
    ...below,
  ];
}

/** Whether a token's description is more than its keywords with examples: without a teacher it is not. */
const saysMore = ({ description, keywords: words }) => description && !description.startsWith(words.join(", "));

function cards(tokens, path) {
  return make(
    "ul",
    { className: "cards" },
    ...tokens.map((token) =>
      make(
        "li",
        {},
        make(
          "a",
          { className: "card", href: tokenAddress([...path, bare(token.token)]) },
          make("span", { className: "code" }, token.token),
          make("span", { className: "soft number" }, count(token.n_items, "item")),
          keywords(token.keywords, 5),
        ),
      ),
    ),
  );
}

async function search() {
  const signal = nextFound();
  const found = byId("token-found");
  const query = byId("token-query").value.trim();
  if (!query) return found.replaceChildren();
  await fill(found, async () => {
    const [{ tokens }, { items }] = await Promise.all([
      ask(`tokens?${new URLSearchParams({ query })}`, { signal }),
      ask(`items?${new URLSearchParams({ query, limit: 5 })}`, { signal }),
    ]);
    const whole = await Promise.all(items.map((item) => ask(`items/${encodeURIComponent(item.item_id)}`, { signal })));
    const parts = [];
    if (whole.length) {
      parts.push(make("h2", {}, "Items with these words"));
      parts.push(...whole.map((item) => make("div", { className: "of-item" }, make("button", { type: "button", className: "title", on: { click: () => openItem(item.item_id) } }, item.title || item.item_id), tokenTrail(item.sid, item.tokens))));
    }
    if (tokens.length) parts.push(make("h2", {}, "Tokens with these words"), cards(tokens, []));
    found.replaceChildren(make("div", { className: "panel" }, ...(parts.length ? parts : [make("p", {}, "No token and no item has these words.")])));
  });
}

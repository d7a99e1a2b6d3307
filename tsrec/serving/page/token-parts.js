// Tokens as the parts of the page show them.

import { address } from "./address.js";
import { count, make } from "./dom.js";

/** A token's spelling without brackets, as addresses have it. */
export const bare = (token) => token.replace(/^<|>$/g, "");

/** The address of the token at the end of a path. */
export const tokenAddress = (path) => address("tokens", { path: path.map(bare).join(".") });

export const keywords = (words, most = 8) => make("span", { className: "keywords" }, words.length ? words.slice(0, most).join(", ") : "no keywords");

/** The tokens of a SID, one below the other, each with its keywords and a way to it. */
export function tokenTrail(sid, tokens) {
  return make(
    "ol",
    { className: "trail" },
    ...tokens.map((token, level) =>
      make(
        "li",
        {},
        make("a", { className: "code", href: tokenAddress(sid.slice(0, level + 1)) }, token.token),
        keywords(token.keywords, 5),
        make("span", { className: "soft" }, count(token.n_items, "item")),
      ),
    ),
  );
}

"""What SID tokens mean, level by level: their items, keywords, and the tokens below them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tsrec.columns import Columns as C
from tsrec.serving.title_search import TitleSearch
from tsrec.sid.space import format_token, parse_token

_CHILDREN = 100
_N_FOUND = 50


class TokenTree:
    """The tokens of `codes` (N, L), the items' SIDs. `semantics` has a row for each token: its spelling, `n_items`,
    `keywords` and `description`; `told` says more of some tokens."""

    def __init__(self, codes: np.ndarray, semantics: Sequence[dict[str, Any]], told: dict[str, str]) -> None:
        self._codes, self._told = codes, told
        self._rows = {row[C.TOKEN]: row for row in semantics}
        self._known = [row for row in semantics if row[C.N_ITEMS]]
        words = [" ".join(row[C.KEYWORDS]) for row in self._known]
        self._search = TitleSearch(words, np.array([row[C.N_ITEMS] for row in self._known]))

    def levels(self) -> list[dict[str, Any]]:
        """Every level with the tokens that items have, those with most items first."""
        return [
            {"level": level + 1, "tokens": self._counted(self._codes[:, level], level)}
            for level in range(self._codes.shape[1])
        ]

    def sid(self, item: int) -> list[str]:
        """The tokens of an item."""
        return [format_token(level, int(code)) for level, code in enumerate(self._codes[item])]

    def in_words(self, tokens: Sequence[str]) -> list[dict[str, Any]]:
        """What each token of a SID means."""
        return [self._in_words(token) for token in tokens]

    def search(self, query: str) -> list[dict[str, Any]]:
        """The tokens that are spelled so, or whose keywords have all these words."""
        spelled = [row for row in [self._rows.get(_spelled(query))] if row and row[C.N_ITEMS]]
        found = spelled or [self._known[row] for row in self._search.find(query)[:_N_FOUND]]
        return [_with_level(self._in_words(row[C.TOKEN])) for row in found]

    def of_item(self, item: int) -> list[dict[str, Any]]:
        """The tokens of an item, as `search` has them."""
        return [_with_level(token) for token in self.in_words(self.sid(item))]

    def token(self, token: str, under: Sequence[str], popularity: np.ndarray, n_titles: int) -> dict[str, Any]:
        """A token, the numbers of its most popular items as `commonest`, and the tokens of the next level.

        Args:
            token: its spelling, `<a_12>` or `a_12`.
            under: tokens of other levels: only items that have them too count.
            popularity: (N,) of the items.
            n_titles: how many of the commonest items.

        Raises:
            DataError: `token` or one of `under` is no token's spelling.
            KeyError: no SID can have it.
        """
        token, under = _spelled(token), [_spelled(above) for above in under]
        level, code = parse_token(token)
        for each in (token, *under):
            parse_token(each)
            if each not in self._rows:
                raise KeyError(each)
        has = self._codes[:, level] == code
        for above in under:
            its_level, its_code = parse_token(above)
            has &= self._codes[:, its_level] == its_code
        items = np.flatnonzero(has)
        below = level + 1 < self._codes.shape[1]
        return {
            "level": level + 1,
            **self._in_words(token),
            C.N_ITEMS: len(items),
            "commonest": items[np.argsort(-popularity[items], kind="stable")[:n_titles]].tolist(),
            "children": self._counted(self._codes[items, level + 1], level + 1)[:_CHILDREN] if below else [],
        }

    def _counted(self, codes: np.ndarray, level: int) -> list[dict[str, Any]]:
        used, counts = np.unique(codes, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        tokens = [format_token(level, int(code)) for code in used[order]]
        return [
            {C.TOKEN: token, C.N_ITEMS: int(count), C.KEYWORDS: self._keywords(token)}
            for token, count in zip(tokens, counts[order], strict=True)
        ]

    def _keywords(self, token: str) -> list[str]:
        row = self._rows.get(token)
        return list(row[C.KEYWORDS]) if row else []

    def _in_words(self, token: str) -> dict[str, Any]:
        row = self._rows.get(token, {})
        return {
            C.TOKEN: token,
            C.N_ITEMS: int(row.get(C.N_ITEMS, 0)),
            C.KEYWORDS: self._keywords(token),
            C.DESCRIPTION: self._told.get(token) or row.get(C.DESCRIPTION) or "",
        }


def _with_level(token: dict[str, Any]) -> dict[str, Any]:
    return {"level": parse_token(token[C.TOKEN])[0] + 1, **token}


def _spelled(token: str) -> str:
    """With the brackets that people leave out."""
    token = token.strip()
    return token if token.startswith("<") else f"<{token}>"

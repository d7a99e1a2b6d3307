"""What a recommended item is and what its SID tokens mean, from artifacts alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from tsrec.columns import Columns as C
from tsrec.errors import DataError
from tsrec.sid.space import format_token
from tsrec.store import Artifact, Lineage

_READ_BACK = 20  # items of a history that a reason may name
_WORDS_PER_TOKEN = 2
_TITLE_CHARS = 80


class Explainer:
    """Titles, SIDs and token meanings of the catalogue behind a `fuse` artifact, and its users' histories."""

    def __init__(self, lineage: Lineage, fuse: Artifact) -> None:
        decode = lineage.parent(fuse, "decode")
        semantics = lineage.ancestor(decode, "sa_init").frame("token_semantics")
        sids = lineage.parent(decode, "sids").frame("item_sids")
        self._ingest = lineage.parent(fuse, "ingest")
        items = self._ingest.frame("items", [C.ITEM, C.TITLE])
        self._titles = dict(zip(items[C.ITEM], items[C.TITLE], strict=True))
        self._codes = dict(zip(sids[C.ITEM], map(tuple, sids[C.CODES]), strict=True))
        self._keywords = {row.token: list(row.keywords) for row in semantics.itertuples(index=False)}

    def describe(self, item_id: str) -> dict[str, Any]:
        """`title`, and `tokens`: SID token -> the keywords of the items that share it."""
        tokens = [format_token(level, int(code)) for level, code in enumerate(self._codes[item_id])]
        return {"title": self._titles[item_id], "tokens": {token: self._keywords.get(token, []) for token in tokens}}

    def reason(self, item_id: str, history: Sequence[str], *, filled: bool = False) -> str:
        """Why an item fits a history, in the words of its SID tokens.

        Args:
            item_id: the item.
            history: item ids, oldest first; of those that share its first tokens, the one that shares most is named.
            filled: popularity put the item there, and nothing else.
        """
        codes = self._codes[item_id]
        if filled:
            return f"popular: {self._words(codes, len(codes))}"
        if item_id in history[-_READ_BACK:]:
            return f"had before: {self._words(codes, len(codes))}"
        like, n_shared = most_similar_item(item_id, history, self._codes)
        if like is None:
            return self._words(codes, len(codes))
        return f"{self._words(codes, n_shared)}: like {self._titles[like][:_TITLE_CHARS]}"

    def _words(self, codes: Sequence[int], n_levels: int) -> str:
        """The foremost keywords of the first tokens; the tokens themselves where none has any."""
        tokens = [format_token(level, int(code)) for level, code in enumerate(codes[:n_levels])]
        words = [word for token in tokens for word in self._keywords.get(token, [])[:_WORDS_PER_TOKEN]]
        return ", ".join(dict.fromkeys(words)) or "".join(tokens)

    def history_of(self, user_id: str) -> list[str]:
        """All item ids of a user, oldest first. Raises DataError for a user without events."""
        events = self._ingest.table("interactions", [C.USER, C.ITEM, C.POSITION]).to_pandas()
        mine = events[events[C.USER] == user_id].sort_values(C.POSITION)
        if mine.empty:
            raise DataError(f"no user {user_id!r} has any interaction")
        return mine[C.ITEM].tolist()


def most_similar_item(
    item_id: str, history: Sequence[str], codes: Mapping[str, Sequence[int]]
) -> tuple[str | None, int]:
    """The recent item whose SID begins most like an item's, the newest of equals, and how many tokens they share.

    Args:
        item_id: the item.
        history: item ids, oldest first; the last 20 are read.
        codes: the SID of each item; an item of the history may have none.

    Returns:
        None and 0 where no recent item shares the first token.
    """
    n_shared, like = 0, None
    for other in reversed(history[-_READ_BACK:]):
        n = _common(codes[item_id], codes[other]) if other in codes else 0
        if n > n_shared:
            n_shared, like = n, other
    return like, n_shared


def _common(mine: Sequence[int], other: Sequence[int]) -> int:
    """How many codes two SIDs share from the first on."""
    n = 0
    for own, theirs in zip(mine, other, strict=True):
        if own != theirs:
            break
        n += 1
    return n

"""Explanations: what a recommended item is, what its SID tokens mean, and why it fits a history."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow.parquet as pq

from tsrec.columns import Columns as C
from tsrec.errors import DataError
from tsrec.sid.space import format_token
from tsrec.store import Artifact, Lineage

_RECENT_ITEMS = 20  # items of a history that a reason may name
_KEYWORDS_PER_TOKEN = 2
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

    def title(self, item_id: str) -> str:
        """The item's title."""
        return self._titles[item_id]

    def describe(self, item_id: str) -> dict[str, Any]:
        """`title`, and `tokens`: SID token -> the keywords of the items that share it."""
        tokens = [format_token(level, int(code)) for level, code in enumerate(self._codes[item_id])]
        return {"title": self.title(item_id), "tokens": {token: self._keywords.get(token, []) for token in tokens}}

    def reason(self, item_id: str, history: Sequence[str], *, filled: bool = False) -> str:
        """Why an item fits a history, in the words of its SID tokens.

        Args:
            item_id: the item.
            history: item ids, oldest first. The recent one that shares most of the item's first tokens is named.
            filled: no member proposed the item; it fills the list because it is popular.
        """
        codes = self._codes[item_id]
        if filled:
            return f"popular: {self._keyword_text(codes, len(codes))}"
        if item_id in history[-_RECENT_ITEMS:]:
            return f"had before: {self._keyword_text(codes, len(codes))}"
        similar, n_shared = most_similar_item(item_id, history, self._codes)
        if similar is None:
            return self._keyword_text(codes, len(codes))
        return f"{self._keyword_text(codes, n_shared)}: like {self._titles[similar][:_TITLE_CHARS]}"

    def _keyword_text(self, codes: Sequence[int], n_levels: int) -> str:
        """The best keywords of the first `n_levels` tokens; the tokens themselves where none has keywords."""
        tokens = [format_token(level, int(code)) for level, code in enumerate(codes[:n_levels])]
        keywords = [word for token in tokens for word in self._keywords.get(token, [])[:_KEYWORDS_PER_TOKEN]]
        return ", ".join(dict.fromkeys(keywords)) or "".join(tokens)

    def history_of(self, user_id: str) -> list[str]:
        """All item ids of a user, oldest first. Raises DataError for a user without events."""
        # Interactions stand by user, so that nearly all of the file is passed over.
        file, is_user = self._ingest.file("interactions.parquet"), [(C.USER, "==", user_id)]
        events = pq.read_table(file, columns=[C.ITEM, C.POSITION], filters=is_user).sort_by(C.POSITION)
        if not len(events):
            raise DataError(f"no user {user_id!r} has any interaction")
        items: list[str] = events[C.ITEM].to_pylist()
        return items


def most_similar_item(
    item_id: str, history: Sequence[str], codes: Mapping[str, Sequence[int]]
) -> tuple[str | None, int]:
    """The recent item whose SID shares the longest prefix with an item's, and the number of tokens that they share.

    Of several such items it is the newest.

    Args:
        item_id: the item.
        history: item ids, oldest first; the last 20 are read.
        codes: the SID of each item; an item of the history may have none.

    Returns:
        None and 0 where no recent item shares the first token.
    """
    n_shared, similar = 0, None
    for other in reversed(history[-_RECENT_ITEMS:]):
        n = _shared_prefix_length(codes[item_id], codes[other]) if other in codes else 0
        if n > n_shared:
            n_shared, similar = n, other
    return similar, n_shared


def _shared_prefix_length(first: Sequence[int], second: Sequence[int]) -> int:
    """How many codes two SIDs share from the first on."""
    for level, (code, other) in enumerate(zip(first, second, strict=True)):
        if code != other:
            return level
    return len(first)

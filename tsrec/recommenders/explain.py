"""What a recommended item is and what its SID tokens mean, from artifacts alone."""

from typing import Any

from tsrec.columns import Columns as C
from tsrec.errors import DataError
from tsrec.sid import format_token
from tsrec.store import Artifact, Lineage


class Explainer:
    """Titles, SIDs and token meanings of the catalogue behind a `fuse` artifact, and its users' histories."""

    def __init__(self, lineage: Lineage, fuse: Artifact) -> None:
        decode = lineage.parent(fuse, "decode")
        semantics = lineage.parent(lineage.parent(decode, "finetune"), "sa_init").frame("token_semantics")
        sids = lineage.parent(decode, "sids").frame("item_sids")
        self._ingest = lineage.parent(fuse, "ingest")
        items = self._ingest.frame("items", [C.ITEM, C.TITLE])
        self._titles = dict(zip(items[C.ITEM], items[C.TITLE], strict=True))
        self._codes = dict(zip(sids[C.ITEM], sids[C.CODES], strict=True))
        self._keywords = {row.token: list(row.keywords) for row in semantics.itertuples(index=False)}

    def of(self, item_id: str) -> dict[str, Any]:
        """`title`, and `tokens`: SID token -> the keywords of the items that share it."""
        tokens = [format_token(level, int(code)) for level, code in enumerate(self._codes[item_id])]
        return {"title": self._titles[item_id], "tokens": {token: self._keywords.get(token, []) for token in tokens}}

    def history_of(self, user_id: str) -> list[str]:
        """All item ids of a user, oldest first. Raises DataError for a user without events."""
        events = self._ingest.table("interactions", [C.USER, C.ITEM, C.POSITION]).to_pandas()
        mine = events[events[C.USER] == user_id].sort_values(C.POSITION)
        if mine.empty:
            raise DataError(f"no user {user_id!r} has any interaction")
        return mine[C.ITEM].tolist()

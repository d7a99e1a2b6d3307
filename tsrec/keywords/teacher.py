"""The teacher interface: whoever draws keywords from item texts."""

from dataclasses import dataclass, field
from typing import Protocol

import pandas as pd

FALLBACK_SOURCE = "keyless-fallback"
MAX_KEYWORDS = 10  # of each item


@dataclass(frozen=True)
class ItemKeywords:
    """Keywords of a shard's items, in its order.

    `sources` says by item who drew them; `usage` counts what it took (tokens, failed calls ...).
    """

    keywords: list[list[str]]
    sources: list[str]
    usage: dict[str, int] = field(default_factory=dict)


class Teacher(Protocol):
    """Draws keywords; the whole catalogue is handed to its constructor, where it needs one."""

    def draw(self, items: pd.DataFrame) -> ItemKeywords:
        """Keywords for the rows of `items` (columns item_id, title, text), at least one each."""
        ...

"""The teacher interface: whoever draws keywords from item texts; and what that took, kept beside each shard."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import pandas as pd
import pyarrow as pa

from tsrec.config import OpenAIConfig

FALLBACK_SOURCE = "keyless-fallback"
MAX_KEYWORDS = 10  # of each item
_PREFIX = "usage."


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


def with_usage(shard: pa.Table, usage: Mapping[str, int]) -> pa.Table:
    """A shard of answers that says what it took."""
    return shard.replace_schema_metadata({f"{_PREFIX}{name}": str(value) for name, value in usage.items()})


def usage_of(shards: Iterable[pa.Table]) -> Counter[str]:
    """What all shards took, those of earlier attempts included."""
    usage: Counter[str] = Counter()
    for shard in shards:
        for key, value in (shard.schema.metadata or {}).items():
            if key.decode().startswith(_PREFIX):
                usage[key.decode().removeprefix(_PREFIX)] += int(value)
    return usage


def cost_usd(prices: OpenAIConfig, usage: Counter[str]) -> float:
    """Dollars, by the prices of the configuration."""
    dollars = (
        usage["input_tokens"] * prices.usd_per_million_input_tokens
        + usage["output_tokens"] * prices.usd_per_million_output_tokens
    ) / 1e6
    return round(dollars, 4)

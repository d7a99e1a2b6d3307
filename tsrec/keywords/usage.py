"""What a teacher LLM took: kept beside each shard of answers, and summed up for the manifest."""

from collections import Counter
from collections.abc import Iterable, Mapping

import pyarrow as pa

from tsrec.config import OpenAIConfig

_PREFIX = "usage."


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

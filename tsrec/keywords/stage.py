"""The keywords stage: shard by shard, so that a killed run asks the teacher only for what is missing."""

from collections import Counter
from functools import partial

import pandas as pd
import pyarrow as pa

from tsrec.columns import Columns as C
from tsrec.config import KeywordsConfig, OpenAIConfig
from tsrec.keywords.keyless import KeylessTeacher
from tsrec.keywords.openai_teacher import OpenAITeacher
from tsrec.keywords.teacher import FALLBACK_SOURCE, Teacher
from tsrec.progress import progress
from tsrec.stage import Parents, Stage
from tsrec.store import ArtifactWriter
from tsrec.store.work_files import kept_table

_SCHEMA = pa.schema([(C.ITEM, pa.string()), (C.KEYWORDS, pa.list_(pa.string())), (C.SOURCE, pa.string())])


def run(config: KeywordsConfig, parents: Parents, out: ArtifactWriter) -> None:
    """Write `item_keywords`, one row per item in the order of `items`."""
    items = parents["ingest"].frame("items", [C.ITEM, C.TITLE, C.TEXT])
    keyless = KeylessTeacher(items, config)
    teacher: Teacher = OpenAITeacher(config, fallback=keyless) if config.teacher == "openai" else keyless
    shards = []
    with progress(desc="drawing keywords", total=len(items), unit="item") as bar:
        for start in range(0, len(items), config.shard_items):
            shard = items.iloc[start : start + config.shard_items]
            # Named by its rows: with another shard size, other shards.
            path = out.work / f"{start}-{start + len(shard)}.parquet"
            shards.append(kept_table(path, partial(_draw, teacher, shard)))
            bar.update(len(shard))
    table = pa.concat_tables([shard.replace_schema_metadata(None) for shard in shards])
    out.write_table("item_keywords", table)
    out.count(**{f"n_language_{language}": count for language, count in sorted(keyless.languages.items())})
    usage: Counter[str] = Counter()  # of all shards, those of earlier attempts included
    for shard_table in shards:
        usage.update(_usage(shard_table))
    out.count(**usage)
    if config.teacher == "openai":
        out.count(
            n_fallback=table[C.SOURCE].to_pylist().count(FALLBACK_SOURCE), cost_usd=_cost_usd(config.openai, usage)
        )


def _cost_usd(prices: OpenAIConfig, usage: Counter[str]) -> float:
    dollars = (
        usage["input_tokens"] * prices.usd_per_million_input_tokens
        + usage["output_tokens"] * prices.usd_per_million_output_tokens
    ) / 1e6
    return round(dollars, 4)


def _draw(teacher: Teacher, shard: pd.DataFrame) -> pa.Table:
    drawn = teacher.draw(shard)
    table = pa.table([pa.array(shard[C.ITEM]).cast(pa.string()), drawn.keywords, drawn.sources], schema=_SCHEMA)
    metadata = {f"usage.{name}": str(value) for name, value in drawn.usage.items()}
    return table.replace_schema_metadata(metadata)


def _usage(shard: pa.Table) -> dict[str, int]:
    metadata = shard.schema.metadata or {}
    return {
        key.decode().removeprefix("usage."): int(value) for key, value in metadata.items() if key.startswith(b"usage.")
    }


STAGE = Stage(name="keywords", version=3, config=lambda config: config.keywords, parents=lambda _: ("ingest",), run=run)

"""The keywords stage: shard by shard, so that a killed run asks the teacher only for what is missing."""

import numpy as np
import pandas as pd
import pyarrow as pa

from tsrec.columns import Columns as C
from tsrec.config import KeywordsConfig
from tsrec.keywords.keyless import KeylessTeacher
from tsrec.keywords.openai_teacher import OpenAITeacher
from tsrec.keywords.teacher import FALLBACK_SOURCE, Teacher, cost_usd, usage_of, with_usage
from tsrec.stage import Parents, Sharded
from tsrec.store import ArtifactWriter, base_role
from tsrec.store.shards import row_shards, tables_of
from tsrec.store.unchanged_rows import unchanged_rows

_PAID = "answers.sqlite"
_BASE, _BASE_ITEMS = base_role("keywords"), base_role("ingest")

_SCHEMA = pa.schema([(C.ITEM, pa.string()), (C.KEYWORDS, pa.list_(pa.string())), (C.SOURCE, pa.string())])


def run(config: KeywordsConfig, parents: Parents, out: ArtifactWriter) -> Sharded:
    """Write `item_keywords`, one row per item in the order of `items`; what a base holds is not asked for again."""
    items = parents["ingest"].frame("items", [C.ITEM, C.TITLE, C.TEXT])
    keyless = KeylessTeacher(items)
    known = _known_rows(items, parents)
    asked = items[known < 0]
    needs_llm = config.teacher == "openai" and len(asked) > 0
    teacher: Teacher = OpenAITeacher(config, keyless, out.common / _PAID) if needs_llm else keyless

    def draw(first: int, end: int) -> pa.Table:
        rows = asked.iloc[first:end]
        drawn = teacher.draw(rows)
        table = pa.table([pa.array(rows[C.ITEM]).cast(pa.string()), drawn.keywords, drawn.sources], schema=_SCHEMA)
        return with_usage(table, drawn.usage)

    shards = row_shards(out.work, len(asked), config.shard_items, draw, lambda first, end: f"{first}-{end}")

    def write() -> None:
        tables = tables_of(shards, "drawing keywords", "item")
        drawn = [table.replace_schema_metadata(None) for table in tables]
        table = pa.concat_tables([_SCHEMA.empty_table(), *drawn])
        if (known >= 0).any():
            table = _with_known(table, parents[_BASE].table("item_keywords", _SCHEMA.names), known)
        out.write_table("item_keywords", table)
        if _BASE in parents:
            out.count(n_items_known=int((known >= 0).sum()), n_items_asked=int((known < 0).sum()))
        out.count(**{f"n_language_{language}": count for language, count in sorted(keyless.languages.items())})
        usage = usage_of(tables)
        out.count(**usage)
        if config.teacher == "openai":
            n_fallback = table[C.SOURCE].to_pylist().count(FALLBACK_SOURCE)
            out.count(n_fallback=n_fallback, cost_usd=cost_usd(config.openai, usage))

    return Sharded(shards, write)


def _known_rows(items: pd.DataFrame, parents: Parents) -> np.ndarray:
    """(N,) int64: the base's row of every item that it has with this very text, else -1.

    Where only the fallback answered, the teacher is asked again.
    """
    if _BASE not in parents:
        return np.full(len(items), -1)
    known = unchanged_rows(items, parents[_BASE_ITEMS].frame("items", [C.ITEM, C.TITLE, C.TEXT]), (C.TITLE, C.TEXT))
    sources = parents[_BASE].frame("item_keywords", [C.SOURCE])[C.SOURCE].to_numpy()
    return np.where((known >= 0) & (sources[np.maximum(known, 0)] != FALLBACK_SOURCE), known, -1)


def _with_known(drawn: pa.Table, base: pa.Table, known: np.ndarray) -> pa.Table:
    """Rows of all items: row `known` of the base's where it is not -1, the next of `drawn` elsewhere."""
    place = np.where(known >= 0, known, len(base) + np.cumsum(known < 0) - 1)
    return pa.concat_tables([base.cast(_SCHEMA), drawn]).take(pa.array(place))

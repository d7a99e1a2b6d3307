"""Items out of the log of interactions, which says again what an item is called each time. Knows no files."""

from collections.abc import Iterable
from dataclasses import replace

import pandas as pd

from tsrec.columns import Columns as C
from tsrec.data.files import Batch
from tsrec.data.ids import ids_as_text
from tsrec.data.missing_values import is_missing_value


def newest_item_texts(batches: Iterable[Batch]) -> Batch | None:
    """A row for each item of the log, in order of appearance: of every column the last value that is not missing.

    Args:
        batches: item_id and any other columns, a row for each event; rows without an id are passed over.

    Returns:
        The items, as rows of the first file; None where there are no batches.
    """
    first: Batch | None = None
    items = pd.DataFrame()
    for batch in batches:
        first = first or batch
        if batch.rows.empty:
            continue
        rows = batch.rows[~is_missing_value(batch.rows[C.ITEM])]
        ids, _ = ids_as_text(rows[C.ITEM].reset_index(drop=True), batch.path)
        texts = rows.drop(columns=C.ITEM).reset_index(drop=True).astype(object)
        texts = texts.mask(texts.apply(is_missing_value))
        items = _last(pd.concat([items, _last(texts.assign(**{C.ITEM: ids}))]))
    return None if first is None else replace(first, rows=items, first_row=1)


def _last(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.groupby(C.ITEM, sort=False, as_index=False).last()

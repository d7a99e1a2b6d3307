"""Semantic IDs made elsewhere, read from a JSON file: item_id -> its tokens."""

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from tsrec.errors import CodebookError, DataError
from tsrec.sid.space import parse_token
from tsrec.store.json_file import read_json

logger = logging.getLogger(__name__)


_MAX_CODE = 32_767  # `item_sids` stores codes as int16


def read_sids(path: Path, item_ids: list[str]) -> np.ndarray:
    """Codes (N, L) int64 of the catalogue's items, in the order of `item_ids`; several items may share a SID.

    Raises:
        DataError: the file is missing or not such JSON, or a token cannot be read.
        CodebookError: an item of the catalogue has no SID, or SIDs differ in length or order of levels.
    """
    tokens = read_json(path, dict, "an object item_id -> list of tokens")
    missing = [item for item in item_ids if item not in tokens]
    if missing:
        raise CodebookError(
            f"{path}: {len(missing)} of {len(item_ids)} items of the catalogue have no SID, the first is "
            f"{missing[0]!r}; was the file made for this catalogue?"
        )
    surplus = len(tokens) - len(item_ids)
    if surplus:
        logger.warning("%s: %d SIDs of items that the catalogue lacks are left out", path, surplus)
    sids = [_codes(path, item, tokens[item]) for item in item_ids]
    # The most common length is the right one, so that the error names an item that differs from it.
    n_levels = Counter(len(codes) for codes in sids).most_common(1)[0][0]
    for item, codes in zip(item_ids, sids, strict=True):
        if len(codes) != n_levels:
            raise CodebookError(
                f"{path}: item {item!r} has the SID {''.join(tokens[item])}; most items have {n_levels} levels"
            )
    return np.array(sids, dtype=np.int64)


def _codes(path: Path, item: str, tokens: Any) -> list[int]:
    if not isinstance(tokens, list) or not tokens or not all(isinstance(token, str) for token in tokens):
        raise DataError(f"{path}: item {item!r}: expected a list of tokens such as <a_12>, found {tokens!r}")
    try:
        parsed = [parse_token(token) for token in tokens]
    except DataError as error:
        raise DataError(f"{path}: item {item!r}: {error}") from None
    if [level for level, _ in parsed] != list(range(len(parsed))):
        raise CodebookError(f"{path}: item {item!r} has the SID {''.join(tokens)}; levels must run from <a_...>")
    codes = [code for _, code in parsed]
    if max(codes) > _MAX_CODE:
        raise CodebookError(f"{path}: item {item!r} has code {max(codes)}; the highest possible is {_MAX_CODE}")
    return codes

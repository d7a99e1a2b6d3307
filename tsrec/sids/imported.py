"""Semantic IDs made elsewhere, read from a JSON file: item_id -> its tokens."""

import gzip
import json
import logging
from pathlib import Path

import numpy as np

from tsrec.errors import CodebookError, DataError
from tsrec.sid import parse_token

logger = logging.getLogger(__name__)


def read_sids(path: Path, item_ids: list[str]) -> np.ndarray:
    """Codes (N, L) int64 of the catalogue's items, in the order of `item_ids`; several items may share a SID.

    Raises:
        DataError: the file is missing or not such JSON, or a token cannot be read.
        CodebookError: an item of the catalogue has no SID, or SIDs differ in length or order of levels.
    """
    try:
        raw = path.read_bytes()
        tokens = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path}: not readable as JSON: {error}") from None
    if not isinstance(tokens, dict):
        raise DataError(f"{path}: expected an object item_id -> list of tokens, found a {type(tokens).__name__}")
    missing = [item for item in item_ids if item not in tokens]
    if missing:
        raise CodebookError(f"{path}: {len(missing)} items of the catalogue have no SID, the first is {missing[0]!r}")
    surplus = len(tokens) - len(item_ids)
    if surplus:
        logger.warning("%s: %d SIDs of items that the catalogue lacks are left out", path, surplus)
    n_levels = len(tokens[item_ids[0]])
    return np.array([_codes(path, item, tokens[item], n_levels) for item in item_ids], dtype=np.int64)


def _codes(path: Path, item: str, tokens: list[str], n_levels: int) -> list[int]:
    try:
        parsed = [parse_token(token) for token in tokens]
    except (DataError, TypeError) as error:
        raise DataError(f"{path}: item {item!r}: {error}") from None
    if [level for level, _ in parsed] != list(range(n_levels)):
        raise CodebookError(f"{path}: item {item!r} has the SID {tokens}; expected {n_levels} levels from <a_...> on")
    return [code for _, code in parsed]

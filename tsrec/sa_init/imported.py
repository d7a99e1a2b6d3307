"""Token semantics made elsewhere, such as those that TS-Rec's authors published."""

from pathlib import Path
from typing import Any

import numpy as np

from tsrec.errors import DataError
from tsrec.sid.meaning import TokenMeaning
from tsrec.sid.space import SidSpace, parse_token
from tsrec.store.json_file import read_json


def import_semantics(
    path: Path, space: SidSpace, n_items: np.ndarray, n_keywords: int
) -> tuple[list[TokenMeaning], dict[str, int]]:
    """Read a JSON list (also gzip) of `{"token", "description", "keywords"}`.

    Args:
        path: the file.
        space: the tokens' numbering.
        n_items: (n_tokens,), items of every token; a token that has some must have an entry.
        n_keywords: the most that a token keeps, its first ones.

    Returns:
        One meaning per token of the space, in flat order, and what was left out: keywords cut, and entries of tokens
        that are not in the space.

    Raises:
        DataError: the file is missing or not of this form, or lacks a token in use; names file, entry and token.
    """
    entries: dict[str, tuple[tuple[str, ...], str]] = {}
    for number, entry in enumerate(read_json(path, list, "a list of entries"), start=1):
        token, keywords, description = _check(entry, f"{path}, entry {number}")
        if token in entries:
            raise DataError(f"{path}, entry {number}: a second entry for token {token}; keep one")
        entries[token] = keywords, description
    tokens = space.tokens()
    missing = [token for token, count in zip(tokens, n_items, strict=True) if count and token not in entries]
    if missing:
        raise DataError(
            f"{path}: no entry for {missing[0]}, which items use ({len(missing)} such tokens); "
            "the file has to describe every token of these semantic IDs"
        )
    meanings = []
    for token, count in zip(tokens, n_items, strict=True):
        keywords, description = entries.get(token, ((), ""))
        meanings.append(TokenMeaning(token, int(count), keywords[:n_keywords], description))
    return meanings, {
        "n_keywords_cut": sum(max(0, len(keywords) - n_keywords) for keywords, _ in entries.values()),
        "n_entries_outside": len(entries.keys() - set(tokens)),
    }


def _check(entry: Any, place: str) -> tuple[str, tuple[str, ...], str]:
    if not isinstance(entry, dict) or not isinstance(entry.get("token"), str):
        raise DataError(f'{place}: expected an object with a "token", such as "<a_12>"')
    token, keywords, description = entry["token"], entry.get("keywords"), entry.get("description", "")
    try:
        parse_token(token)
    except DataError as error:
        raise DataError(f"{place}: {error}") from None
    if not isinstance(keywords, list) or not all(isinstance(keyword, str) for keyword in keywords):
        raise DataError(f'{place}, token {token}: "keywords" has to be a list of strings')
    if not isinstance(description, str):
        raise DataError(f'{place}, token {token}: "description" has to be a string')
    return token, tuple(keyword.strip() for keyword in keywords if keyword.strip()), description.strip()

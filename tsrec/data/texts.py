"""One way from a raw value to plain text, whatever the source: CSV, JSON, Parquet, Python literals.

Knows nothing of items and files: a value in, a string out, and what was done to it counted.
"""

import ast
import json
import re
from collections import Counter
from collections.abc import Mapping
from datetime import date
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd

from tsrec.data.markup import is_code, without_markup
from tsrec.data.missing_values import is_missing_word

COUNTED = (
    "n_values_from_lists_or_objects",
    "n_texts_with_markup",
    "n_texts_of_scripts_dropped",
    "n_texts_with_control_characters",
    "n_texts_with_broken_characters",
    "n_words_for_missing_dropped",
)
_FLAGS = ("True", "False", "None")  # Yelp's objects hold Python's spelling of everything
_PYTHON_2 = re.compile(r"""u(['"])(.*)\1""", re.DOTALL)
_NAMES = ("name", "title", "label", "text", "value", "description")  # of an object, what is meant to be read
_ESCAPE_SEQUENCE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[ -/]*[0-~])|"
    r"\x9b[0-?]+[ -/]*[@-~]"
)
# Control characters; what turns the direction of writing; byte-order marks; tags that nobody sees.
CONTROL = "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
_CONTROL = re.compile(CONTROL)
SURROGATE = "[\ud800-\udfff]"
_SURROGATE = re.compile(SURROGATE)
_NUMPY_LIST = re.compile(r"(?<=['\"])\s+(?=['\"])")  # ['a' 'b'], which Python would read as ['ab']


def clean_text(value: object, joiner: str = ", ", counts: Counter[str] | None = None) -> str:
    """Plain text of a raw value; missing values are empty.

    Lists are joined (lists of lists as paths: `A > B; C > D`), objects give the text of what is named (`name`,
    `title` ...) or else all their texts; markup, scripts, control characters and terminal sequences go; halves of
    characters become U+FFFD; white space is folded.

    Args:
        value: anything that a file may hold.
        joiner: what stands between the parts of a list.
        counts: what was done is added to it, under the names of `COUNTED`.
    """
    counts = Counter() if counts is None else counts
    if structure_of(value) is not None:
        counts["n_values_from_lists_or_objects"] += 1
    return _clean(value, joiner, counts)


def _clean(value: object, joiner: str, counts: Counter[str]) -> str:
    structure = structure_of(value)
    if structure is not None:
        parts, inner = _parts(structure), joiner
        if isinstance(structure, list) and any(isinstance(part, list) for part in parts):
            joiner, inner = "; ", " > "  # a list of paths from wide to narrow
        return joiner.join(filter(None, (_clean(part, inner, counts) for part in parts)))
    text = _spelled(value)
    if is_missing_word(text):
        counts["n_words_for_missing_dropped"] += 1
        return ""
    return _printable(_plain(text, counts), counts)


def _spelled(value: object) -> str:
    """One value as text; no Python spelling of what is none."""
    if isinstance(value, str):
        python_2 = _PYTHON_2.fullmatch(value) if value[:1] == "u" else None
        return python_2[2] if python_2 else value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if value is None or isinstance(value, bool | np.bool_) or pd.isna(value):
        return ""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and value.is_integer() and value < 2.0**53:
        return str(int(value))
    return str(value) if isinstance(value, Number) else ""


def structure_of(value: object) -> list[Any] | Mapping[str, Any] | None:
    """The list or object that a value is, or that is written in its text; None where it is neither."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, list | tuple | np.ndarray):
        return list(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    return _written_structure(value.strip()) if isinstance(value, str) else None


def _written_structure(text: str) -> list[Any] | Mapping[str, Any] | None:
    """A list or object that was written into a field of text: `['Toys', 'Craft']`, `[{"name": "Toys"}]`."""
    if text[:1] + text[-1:] not in ("[]", "{}") or not (text[1:-1].strip() == "" or "'" in text or '"' in text):
        return None  # [1984] is a title
    try:
        found = json.loads(text)
    except ValueError:
        try:
            found = ast.literal_eval(_NUMPY_LIST.sub(", ", text))
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return None
    except RecursionError:
        return None
    return found if isinstance(found, list | dict) else None


def _parts(structure: list[Any] | Mapping[str, Any]) -> list[Any]:
    if not isinstance(structure, Mapping):
        return structure
    named = [value for key, value in structure.items() if str(key).lower() in _NAMES]
    return named or [value for value in structure.values() if _is_readable(value)]


def _is_readable(value: Any) -> bool:
    """Texts with a letter in them, and what may hold such: not counts, ids and flags."""
    if isinstance(value, str):
        return value not in _FLAGS and any(character.isalpha() for character in value)
    return isinstance(value, list | tuple | Mapping | np.ndarray)


def _plain(text: str, counts: Counter[str]) -> str:
    if "<" not in text and "&" not in text and "{" not in text and "=" not in text:
        return text
    plain = without_markup(text)
    if plain != text:
        counts["n_texts_with_markup"] += 1
    if is_code(plain):
        counts["n_texts_of_scripts_dropped"] += 1
        return ""
    return plain


def _printable(text: str, counts: Counter[str]) -> str:
    if _SURROGATE.search(text):  # halves are joined, lone ones become U+FFFD
        counts["n_texts_with_broken_characters"] += 1
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    without_sequences = _ESCAPE_SEQUENCE.sub("", text) if "\x1b" in text or "\x9b" in text else text
    folded = " ".join(without_sequences.split())
    printable = _CONTROL.sub("", folded)
    if printable != folded or without_sequences != text:
        counts["n_texts_with_control_characters"] += 1
        printable = " ".join(printable.split())
    return printable

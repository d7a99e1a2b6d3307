"""Reading JSON files that people bring, gzipped or not. Knows nothing of what is in them."""

import gzip
import json
import zlib
from pathlib import Path
from typing import Any, TypeVar

from tsrec.errors import DataError

_Content = TypeVar("_Content", list, dict)


def read_json(path: Path, kind: type[_Content], content: str) -> _Content:
    """The list or object in a JSON file; gzipped where its name ends in `.gz`.

    Args:
        path: the file.
        kind: list or dict.
        content: what is expected, in words, for the message.

    Raises:
        DataError: the file is missing, unreadable, no JSON, or of another kind.
    """
    try:
        raw = path.read_bytes()
        value: Any = json.loads(gzip.decompress(raw) if path.suffix.lower() == ".gz" else raw)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not readable as JSON: {error}") from None
    if not isinstance(value, kind):
        raise DataError(f"{path}: expected {content}, found {type(value).__name__}")
    return value

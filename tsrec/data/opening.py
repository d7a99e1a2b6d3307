"""Opening raw files, gzipped or not."""

import gzip
from pathlib import Path
from typing import IO, TextIO, cast


def open_bytes(path: Path) -> IO[bytes]:
    """The file's bytes, unpacked."""
    return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix.lower() == ".gz" else path.open("rb")


def open_text(path: Path, encoding: str, newline: str | None = None, errors: str = "strict") -> TextIO:
    """The file's text; a byte-order mark of UTF-8 is no part of it."""
    encoding = "utf-8-sig" if encoding == "utf-8" else encoding
    opener = gzip.open if path.suffix.lower() == ".gz" else Path.open
    return cast(TextIO, opener(path, "rt", encoding=encoding, newline=newline, errors=errors))

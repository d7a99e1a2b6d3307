"""Raw files as they arrive: one that comes twice is read once, and one that stops within a line is told of.

Only text of separated fields can lose its end unnoticed: packed files, Parquet and JSON are refused by their readers.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from tsrec.data.files import is_separated
from tsrec.data.finding import RawFile
from tsrec.data.opening import is_packed, no_rows
from tsrec.store import known_sha256

_LONGEST_END = 4  # bytes of a line's end, in any encoding


def lacks_line_end(path: Path) -> bool:
    """Whether a plain file of separated fields stops within a line, so that its last row may be cut."""
    if not is_separated(path) or is_packed(path) or no_rows(path):
        return False
    with path.open("rb") as stream:
        n_bytes = stream.seek(0, 2)
        stream.seek(max(0, n_bytes - _LONGEST_END))
        end = stream.read()
    return bool(end) and end.rstrip(b"\0")[-1:] not in (b"\r", b"\n")  # UTF-16 and -32 may end in zeros


def once_each(files: Sequence[RawFile]) -> list[RawFile]:
    """The files without those whose bytes, and what their names say of the rows, are an earlier one's."""
    found: dict[tuple[str, ...], RawFile] = {}
    for file in files:
        partitions = (folder for folder in PurePosixPath(file.name).parts[:-1] if "=" in folder)
        found.setdefault((known_sha256(file.path), file.split or "", *partitions), file)
    return list(found.values())

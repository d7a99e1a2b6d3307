"""Opening raw files, packed or not; and what is no file of rows: archives of several files, workbooks."""

import bz2
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import IO, Any, TextIO

import pyarrow as pa

from tsrec.errors import DataError


def _open_member(path: Path) -> IO[bytes]:
    """The one file of a ZIP archive. Raises DataError where there is not one, or it needs a password."""
    with zipfile.ZipFile(path) as archive:
        members = _members(archive)
        if not members:
            raise DataError(f"{path}: a ZIP archive that holds no file")
        if len(members) > 1:
            names = ", ".join(member.filename for member in members[:_SHOWN_NAMES])
            more = " ..." if len(members) > _SHOWN_NAMES else ""
            raise DataError(f"{path}: a ZIP archive of {len(members)} files ({names}{more}); unpack it, and name one")
        try:
            return archive.open(members[0])
        except (RuntimeError, NotImplementedError) as error:
            raise DataError(f"{path}: cannot be unpacked here: {error}; unpack it") from None


# suffix -> what it is called, and what opens it
_PACKINGS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    ".gz": ("gzip", gzip.open),
    ".bz2": ("bzip2", bz2.open),
    ".xz": ("xz", lzma.open),
    ".zst": ("Zstandard", lambda path: pa.input_stream(str(path), compression="zstd")),
    ".zip": ("ZIP", _open_member),
}
PACKED = tuple(_PACKINGS)
"""The suffixes of packed files that are read."""
_ARCHIVES = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".7z", ".rar")
_GZIP = b"\x1f\x8b"
_AS_CSV = "; write its table as CSV"
_AS_PARQUET = "; write it as Parquet or CSV"
_MOST_INNER_GZIPS = 2
_SUFFIX = ", or give it the suffix that says so"
# What a file is by its first bytes; the first that fits.
_NO_ROWS: tuple[tuple[bytes, str], ...] = (
    (rb"(?s).{257}ustar", "a tar archive; unpack it"),
    (rb"(?s)PK\x03\x04.*(?:xl/|\[Content_Types\])", "an Excel workbook; save it as CSV"),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook, or another file of Office; save it as CSV"),
    (rb"7z\xbc\xaf\x27\x1c|Rar!\x1a\x07", "an archive; unpack it"),
    (rb"SQLite format 3\0", "an SQLite database" + _AS_CSV),
    (rb"ARROW1\0|FEA1", "a file of Arrow or Feather" + _AS_PARQUET),
    (rb"ORC", "ORC" + _AS_PARQUET),
    (rb"Obj\x01", "Avro" + _AS_PARQUET),
    (rb"\x89HDF\r\n", "HDF5" + _AS_PARQUET),
    (rb"\x80[\x02-\x05][\x00-\xff]{0,11}[\x8c\]}(\x95cX]", "a pickle of Python" + _AS_PARQUET),
    (rb"%PDF-", "a PDF" + _AS_CSV),
    (rb"(?i)(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|\?xml)", "HTML or XML, such as a page to sign in on" + _AS_CSV),
    (rb"version https://git-lfs", "a pointer of Git LFS; fetch the file itself: git lfs pull"),
    (
        rb"(?is)\s*(?:/\*.{0,99}?\*/\s*)?--.{0,99}?\bdump\b|\s*(?:INSERT INTO|CREATE TABLE|DROP TABLE|COPY \S+ \()",
        "a dump of a database in SQL" + _AS_CSV,
    ),
    (rb"PK\x03\x04", "ZIP (.zip); unpack it" + _SUFFIX),
    (rb"\x1f\x8b", "gzip (.gz); unpack it" + _SUFFIX),
    (rb"BZh[1-9]1AY&SY", "bzip2 (.bz2); unpack it" + _SUFFIX),
    (rb"\xfd7zXZ\x00", "xz (.xz); unpack it" + _SUFFIX),
    (rb"\x28\xb5\x2f\xfd", "Zstandard (.zst); unpack it" + _SUFFIX),
    (rb"PAR1\x15", "Parquet (.parquet); unpack it" + _SUFFIX),
)
_SAMPLE_BYTES = 512
_SHOWN_NAMES = 5


def is_packed(path: PurePath) -> bool:
    """Whether a file's name says that it is packed in a way that is read."""
    return path.suffix.lower() in _PACKINGS


def is_archive(path: PurePath) -> bool:
    """Whether a file's name says that it may hold several files."""
    return any(suffix.lower() in _ARCHIVES for suffix in path.suffixes[-2:])


def inner_name(path: Path) -> PurePath:
    """What a packed file is called without its packing: in a ZIP archive of one file, as that is."""
    if path.suffix.lower() == ".zip" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = _members(archive)
        member = PurePath(members[0].filename) if len(members) == 1 else PurePath()
        if member.suffix:
            return member.with_suffix("") if is_packed(member) else member
    return path.with_suffix("")


def open_bytes(path: Path) -> IO[bytes]:
    """The file's bytes, unpacked; gzip within the packing too, as servers and scripts come to pack twice. Not more
    often: a file can be made to unpack into itself for ever."""
    if not is_packed(path):
        return path.open("rb")
    _, opener = _PACKINGS[path.suffix.lower()]
    stream = io.BufferedReader(opener(path))
    for _ in range(_MOST_INNER_GZIPS):
        if not stream.peek(len(_GZIP)).startswith(_GZIP):
            break
        stream = io.BufferedReader(gzip.GzipFile(fileobj=stream, mode="rb"))
    return stream


def open_text(path: Path, encoding: str, newline: str | None = None, errors: str = "strict") -> TextIO:
    """The file's text; a byte-order mark of UTF-8 is no part of it."""
    encoding = "utf-8-sig" if encoding == "utf-8" else encoding
    return io.TextIOWrapper(open_bytes(path), encoding=encoding, newline=newline, errors=errors)


@contextmanager
def unpacking(path: Path) -> Iterator[None]:
    """Turns what goes wrong while a packed file is read into a DataError that names it."""
    name, _ = _PACKINGS.get(path.suffix.lower(), ("", None))
    try:
        yield
    except EOFError:
        raise DataError(f"{path}: the {name} stream ends too early; the file is cut off, fetch it again") from None
    except (OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        if not name or getattr(error, "errno", None) is not None:  # a disk's fault
            raise
        with path.open("rb") as stream:
            other = _by_first_bytes(stream.read(_SAMPLE_BYTES))
        if other and not other.startswith(name):
            raise DataError(f"{path}: not {name} but {other}") from None
        raise DataError(f"{path}: not a readable {name} file: {error}; fetch it again") from None


def no_rows(path: Path) -> str | None:
    """What the file is, and what to do, where its first bytes, unpacked as its name says, are those of no table."""
    with open_bytes(path) as stream:
        what = _by_first_bytes(stream.read(_SAMPLE_BYTES))
    if what is None or not is_packed(path):
        return what and f"no text of rows but {what.removesuffix(_SUFFIX) if is_archive(path) else what}"
    return f"{_PACKINGS[path.suffix.lower()][0]}, and within it {what.removesuffix(_SUFFIX)}"


def _by_first_bytes(start: bytes) -> str | None:
    return next((what for pattern, what in _NO_ROWS if re.match(pattern, start)), None)


def _members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The files of an archive, but for those that macOS adds."""
    files = [member for member in archive.infolist() if not member.is_dir()]
    added = (".", "__MACOSX")
    return [file for file in files if not any(part.startswith(added) for part in PurePath(file.filename).parts)]

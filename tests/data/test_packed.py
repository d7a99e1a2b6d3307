"""Packed files are read whatever packs them; archives of several files are told to be unpacked."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from tests.data.conftest import EVENTS, ITEMS, Ingest
from tsrec.errors import DataError


def _gzip(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)  # the bytes are in names of tests, which are to be the same in every process


def _zip(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # without a date
    return buffer.getvalue()


def _tar(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _zstandard(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".csv.gz": _gzip,
    ".csv.bz2": bz2.compress,
    ".csv.xz": lzma.compress,
    ".csv.zst": _zstandard,
    ".csv.zip": lambda content: _zip({"data.csv": content}),
    ".zip": lambda content: _zip({"data.csv": content, "__MACOSX/._data.csv": b"what macOS adds"}),
    ".CSV.BZ2": bz2.compress,
}
TWICE: dict[str, Callable[[bytes], bytes]] = {
    ".csv.gz": lambda content: _gzip(_gzip(content)),
    ".zip": lambda content: _zip({"data.csv.gz": _gzip(content)}),
}


@pytest.mark.parametrize(("suffix", "pack"), [*PACKERS.items(), *TWICE.items()])
def test_packed_files_are_read_as_plain_ones_are(
    ingest: Ingest, tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    """Found by their names, and named."""
    plain = ingest()
    files: dict[str, str | bytes] = {
        f"packed/items{suffix}": pack(ITEMS.encode()),
        f"packed/interactions{suffix}": pack(EVENTS.encode()),
    }
    found = ingest(files, path=str(tmp_path / "raw" / "packed"))
    named = ingest(files, items_file=f"packed/items{suffix}", interactions_file=f"packed/inter*{suffix}")
    for table in ("items", "interactions"):
        assert found.table(table).equals(plain.table(table))
        assert named.table(table).equals(plain.table(table))


def test_a_packed_file_beside_itself_unpacked_is_passed_over(ingest: Ingest) -> None:
    files: dict[str, str | bytes] = {"items.csv": ITEMS, "items.zip": b"old", "items.csv.bz2": b"old"}
    assert len(ingest({**files, "interactions.csv": EVENTS}).frame("items")) == 3


@pytest.mark.parametrize("suffix", PACKERS)
def test_cut_and_garbled_ones_are_refused(ingest: Ingest, suffix: str) -> None:
    name = f"items{suffix}"
    packed = PACKERS[suffix](b"item_id,title\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(2000)))
    for content, problem in ((packed[:-30], "(stream ends too early|not a readable)"), (ITEMS, "not a readable")):
        with pytest.raises(DataError, match=rf"{name}: .*{problem}.*fetch it again"):
            ingest({name: content, "interactions.csv": EVENTS}, items_file=name)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "items.csv.gz",
            _gzip(_tar("items.csv", ITEMS.encode())),
            "gzip, and within it a tar archive; unpack it",
        ),
        ("items.jsonl.gz", _gzip(_tar("items.jsonl", b"{}")), "gzip, and within it a tar archive; unpack it"),
        (
            "items.csv.gz",
            _gzip(bz2.compress(ITEMS.encode())),
            r"gzip, and within it bzip2 \(\.bz2\); unpack it",
        ),
        ("items.csv", _tar("items.csv", ITEMS.encode()), "no text of rows but a tar archive; unpack it"),
        (
            "items.csv",
            bz2.compress(ITEMS.encode()),
            r"no text of rows but bzip2 \(\.bz2\); unpack it, or give it the suffix",
        ),
        (
            "items.csv.bz2",
            _gzip(ITEMS.encode()),
            r"not bzip2 but gzip \(\.gz\); unpack it, or give it the suffix",
        ),
        (
            "items.csv.zip",
            _zip({"a.csv": b"", "b.csv": b""}),
            r"a ZIP archive of 2 files \(a\.csv, b\.csv\); unpack it",
        ),
        (
            "items.csv",
            _zip({"[Content_Types].xml": b"", "xl/workbook.xml": b""}),
            "no text of rows but an Excel workbook; save it as CSV",
        ),
        ("items.parquet.gz", _gzip(b"PAR1\x15\x04"), r"gzip, and within it Parquet \(\.parquet\); unpack it"),
    ],
)
def test_what_has_to_be_unpacked_is_told_in_one_sentence(
    ingest: Ingest, name: str, content: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=rf"{name}: {message}"):
        ingest({name: content, "interactions.csv": EVENTS})
    with pytest.raises(DataError, match=rf"{name}: {message}"):
        ingest({"log.csv": EVENTS, name: content}, items_file=name, items_format={"encoding": "latin-1"})


def test_archives_in_the_place_of_a_folder_or_a_file(ingest: Ingest, tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"ml-1m.zip": _zip({"a/movies.dat": b"", "a/ratings.dat": b""})}
    with pytest.raises(DataError, match=r"items\.\*, found none; .*; ml-1m\.zip is an archive: unpack it"):
        ingest(files)
    with pytest.raises(DataError, match=r"ml-1m\.zip: an archive; unpack it; set ingest\.path to the folder"):
        ingest(files, path=str(tmp_path / "raw" / "ml-1m.zip"))


def test_a_file_that_unpacks_without_end_is_refused(ingest: Ingest) -> None:
    packed = EVENTS.encode()
    for _ in range(2000):
        packed = gzip.compress(packed, 1)
    with pytest.raises(DataError, match="gzip, and within it gzip"):
        ingest({"items.csv": ITEMS, "interactions.csv.gz": packed})

"""Raw files that a URL names: copied to this machine, and again only where they have changed there.

http and https through httpx, everything else (s3://...) through fsspec. Which addresses may be read is the operator's.
"""

import glob
import hashlib
import json
import re
from collections.abc import Iterable
from itertools import chain, takewhile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx

from tsrec import permissions
from tsrec.errors import ConfigError, DataError, TsrecError, in_one_line
from tsrec.machine.addresses import LOCAL_SCHEMES, address_problem, location, open_filesystem, scheme_of
from tsrec.machine.local_cache import local_cache
from tsrec.machine.progress import progress
from tsrec.store import locks
from tsrec.store.work_files import write_text_whole, write_whole

_COPIES = "raw"
_CHUNK = 1 << 20
_TELLING = {"etag", "last-modified", "ETag", "LastModified", "mtime"}  # any of them changes with the content
_MARKS = (*sorted(_TELLING), "content-length", "size")
_TIMEOUT_S = 60.0
_GZIP = b"\x1f\x8b"
_LONGEST_NAME = 60  # characters, of four bytes at most each; file systems take 255 bytes


def is_copy(path: Path) -> bool:
    """Whether a file is a local copy that `fetch` made: whole, however new it is."""
    return path.is_relative_to(local_cache(_COPIES))


def fetch(url: str, field: str) -> list[tuple[Path, str]]:
    """Local copies of the file that `url` names, or of all that fit it where it is a pattern (not of http); with each
    its name: its place below the folders that the pattern names whole.

    Args:
        url: http(s), or any URL that fsspec knows.
        field: the setting that names it, for messages.

    Raises:
        ConfigError: the operator does not allow the address, or it holds a password.
        DataError: it cannot be reached, there is no such file, or it ended before its announced length.
    """
    is_http = scheme_of(url) in ("http", "https")
    if problem := address_problem(url) if is_http else None:
        raise ConfigError(f"{field}: the address {problem}")
    permissions.check_url(field, url)
    try:
        return [_fetch_http(url, field)] if is_http else _fetch_all(url, field)
    except TsrecError:
        raise
    except Exception as error:  # each file system fails with errors of its own library
        raise DataError(f"{url}: cannot be read ({in_one_line(error)}); see {field}, and run again") from None


def _fetch_http(url: str, field: str) -> tuple[Path, str]:
    # Not followed: an allowed address must not lead to one that is not.
    with httpx.Client(timeout=_TIMEOUT_S, follow_redirects=False) as client, client.stream("GET", url) as answer:
        if answer.is_redirect:
            raise DataError(f"{url}: leads on to {answer.headers.get('location')}; name that address in {field}")
        if not answer.is_success:
            raise DataError(f"{url}: the server answers {answer.status_code} {answer.reason_phrase}; see {field}")
        marks = {name: answer.headers[name] for name in _MARKS if name in answer.headers}
        encoded = "content-encoding" in answer.headers  # then the length is not that of what we write
        total = None if encoded else int(answer.headers.get("content-length", 0)) or None
        name = unquote(location(url)[2].rsplit("/", 1)[-1]) or "file"
        local_name, parts = name, answer.iter_bytes(_CHUNK)
        if encoded and name.lower().endswith(".gz"):
            # httpx has unpacked what came. Servers pack a .gz once more, or send it as it is and call that an encoding.
            first = next(parts, b"")
            local_name = name if first.startswith(_GZIP) else name[: -len(".gz")]
            parts = chain([first], parts)
        return _copied(url, _folder(url), local_name, marks, total, parts), name


def _fetch_all(url: str, field: str) -> list[tuple[Path, str]]:
    filesystem, path = open_filesystem(url, field)
    found = sorted(map(str, filesystem.glob(path))) if glob.has_magic(path) else [path]
    if not found:
        raise DataError(f"{url}: no file fits this pattern; see {field}")
    for one in found:
        if ".." in one.split("/"):
            raise DataError(f"{url}: holds {one!r}, a name that leads out of its folder; see {field}")
        if scheme_of(url) in LOCAL_SCHEMES:  # a pattern finds links too
            permissions.check_url(field, f"{scheme_of(url)}://{one}")
    whole = "/".join(takewhile(lambda part: not glob.has_magic(part), path.split("/")[:-1]))
    return [(_fetch_fsspec(filesystem, one, url, field), one[len(whole) :].lstrip("/")) for one in found]


def _fetch_fsspec(filesystem: Any, path: str, url: str, field: str) -> Path:
    info = filesystem.info(path)
    if info.get("type") == "directory":
        pattern = f"{url.rstrip('/')}/*.parquet"
        raise DataError(f"{url}: a folder; name a file in it in {field}, or a pattern such as {pattern}")
    marks = {name: str(info[name]) for name in _MARKS if name in info}
    scheme, place, _ = location(url)  # `path` alone may lack the host
    folder, name = _folder(scheme, place, path), path.rsplit("/", 1)[-1]
    with filesystem.open(path, "rb") as stream:
        parts = iter(lambda: stream.read(_CHUNK), b"")
        return _copied(filesystem.unstrip_protocol(path), folder, name, marks, info.get("size"), parts)


def _folder(*address: str) -> Path:
    """Where the copies of one file lie."""
    return local_cache(_COPIES) / hashlib.sha256("\n".join(address).encode()).hexdigest()[:16]


def _copied(
    url: str, folder: Path, name: str, marks: dict[str, str], total: int | None, parts: Iterable[bytes]
) -> Path:
    """The copy of `parts` in `folder`, made where there is none whose content had these marks. Its name is like `name`,
    which is a stranger's, and never leads out of the folder."""
    name = re.sub(r"[^\w .=-]", "_", name)[-_LONGEST_NAME:] or "file"
    if name.startswith("."):
        name = f"_{name}"
    folder.mkdir(parents=True, exist_ok=True)
    file, about = folder / name, folder / ".marks.json"

    def write(temporary: Path) -> None:
        with progress(desc=f"fetching {name}", total=total, unit="byte") as bar, temporary.open("wb") as stream:
            for part in parts:
                stream.write(part)
                bar.update(len(part))
        size = temporary.stat().st_size
        if total is not None and size != total:
            raise DataError(f"{url}: ended after {size:,} of {total:,} bytes; run again")

    with locks.hold(folder):
        if not (_TELLING & marks.keys() and file.is_file() and _read(about) == marks):
            about.unlink(missing_ok=True)
            write_whole(file, write)
            write_text_whole(about, json.dumps(marks))
    return file


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None

"""Raw files that a URL names: copied to this machine, and again only where they have changed there.

http and https through httpx, everything else (s3://...) through fsspec. Which addresses may be read is the operator's.
"""

import glob
import hashlib
import json
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import fsspec
import httpx

from tsrec import permissions
from tsrec.config.address import address_problem
from tsrec.errors import ConfigError, DataError
from tsrec.local_cache import local_cache
from tsrec.progress import progress
from tsrec.store import locks
from tsrec.store.work_files import write_text_whole, write_whole

_COPIES = "raw"
_CHUNK = 1 << 20
_TELLING = {"etag", "last-modified", "ETag", "LastModified", "mtime"}  # any of them changes with the content
_MARKS = (*sorted(_TELLING), "content-length", "size")
_TIMEOUT_S = 60.0


def is_url(named: str) -> bool:
    """Whether a file is named by a URL."""
    return "://" in named


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
    if problem := address_problem(url) if url.startswith("http") else None:
        raise ConfigError(f"{field}: the address {problem}")
    permissions.check_url(field, url)
    try:
        if urlsplit(url).scheme in ("http", "https"):
            copy = _fetch_http(url, field)
            return [(copy, copy.name)]
        filesystem, path = fsspec.core.url_to_fs(url)
        found = sorted(filesystem.glob(path)) if glob.has_magic(path) else [path]
        if not found:
            raise DataError(f"{url}: no file fits this pattern; see {field}")
        whole = "/".join(takewhile(lambda part: not glob.has_magic(part), path.split("/")[:-1]))
        return [(_fetch_fsspec(filesystem, one, url, field), one[len(whole) :].lstrip("/")) for one in map(str, found)]
    except (httpx.HTTPError, OSError, ImportError) as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"{url}: cannot be read ({reason.splitlines()[0]}); see {field}, and run again") from None


def _fetch_http(url: str, field: str) -> Path:
    # Not followed: an allowed address must not lead to one that is not.
    with httpx.Client(timeout=_TIMEOUT_S, follow_redirects=False) as client, client.stream("GET", url) as answer:
        if answer.is_redirect:
            raise DataError(f"{url}: leads on to {answer.headers.get('location')}; name that address in {field}")
        if not answer.is_success:
            raise DataError(f"{url}: the server answers {answer.status_code} {answer.reason_phrase}; see {field}")
        marks = {name: answer.headers[name] for name in _MARKS if name in answer.headers}
        encoded = "content-encoding" in answer.headers  # then the length is not that of what we write
        total = None if encoded else int(answer.headers.get("content-length", 0)) or None
        return _copied(url, marks, total, lambda put: [put(part) for part in answer.iter_bytes(_CHUNK)])


def _fetch_fsspec(filesystem: Any, path: str, url: str, field: str) -> Path:
    info = filesystem.info(path)
    if info.get("type") == "directory":
        raise DataError(
            f"{url}: a folder; name a file in it in {field}, or a pattern such as {url.rstrip('/')}/*.parquet"
        )
    marks = {name: str(info[name]) for name in _MARKS if name in info}

    def copy(put: Callable[[bytes], object]) -> None:
        with filesystem.open(path, "rb") as stream:
            while part := stream.read(_CHUNK):
                put(part)

    return _copied(filesystem.unstrip_protocol(path), marks, info.get("size"), copy)


def _copied(
    url: str, marks: dict[str, str], total: int | None, copy: Callable[[Callable[[bytes], object]], object]
) -> Path:
    """The local copy, made by `copy` where there is none whose content had these marks."""
    name = unquote(Path(urlsplit(url).path).name) or "file"
    folder = local_cache(_COPIES) / hashlib.sha256(url.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    file, about = folder / name, folder / ".marks.json"

    def write(temporary: Path) -> None:
        with progress(desc=f"fetching {name}", total=total, unit="byte") as bar, temporary.open("wb") as stream:

            def put(part: bytes) -> None:
                stream.write(part)
                bar.update(len(part))

            copy(put)
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

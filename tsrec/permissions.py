"""What runs may do on this machine: which endpoints they may ask, with which key, and below which folders they work.

A run's parameters may come from a form that many people can open. What they must not decide is the operator's: the
environment variables of the process that runs (a shell, `tsrec serve`, a worker). Lists are separated by commas.

TSREC_TEACHER_URLS      addresses that a teacher may have, and that get the key (default https://api.openai.com/v1)
TSREC_TEACHER_KEY_ENV   name of the environment variable that holds the key (default OPENAI_API_KEY)
TSREC_READ_ROOTS        folders below which data and models are read (default: anywhere)
TSREC_READ_URLS         addresses below which raw files are read (default: none)
TSREC_WRITE_ROOTS       folders and URLs below which the store, and folders of recommendations and ablations, may lie
                        (default: anywhere)
"""

import os
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel

from tsrec.config import Config
from tsrec.config.base import OnDisk
from tsrec.errors import ConfigError, TeacherError
from tsrec.machine.addresses import (
    LOCAL_SCHEMES,
    address_problem,
    is_loopback,
    is_url,
    location,
    place_problem,
    scheme_of,
)

TEACHER_URLS = "TSREC_TEACHER_URLS"
TEACHER_KEY_ENV = "TSREC_TEACHER_KEY_ENV"
READ_ROOTS = "TSREC_READ_ROOTS"
READ_URLS = "TSREC_READ_URLS"
WRITE_ROOTS = "TSREC_WRITE_ROOTS"

_OPENAI_URL = "https://api.openai.com/v1"
_OPENAI_KEY = "OPENAI_API_KEY"


@dataclass(frozen=True)
class Endpoint:
    """Where a teacher is asked, with which key (empty: none), and the variable that the key came from."""

    url: str
    key: str = field(repr=False)
    key_variable: str


def teacher_endpoint(base_url: str | None) -> Endpoint:
    """The endpoint that `keywords.openai.base_url` names (None: OpenAI's own), with the key that it may get.

    Raises:
        ConfigError: the operator does not allow the address, or wrote one that cannot be read.
        TeacherError: the address gets a key, and there is none; endpoints of this machine go without.
    """
    url = base_url or _OPENAI_URL
    allowed = _listed(TEACHER_URLS) or [_OPENAI_URL]
    for entry in allowed:
        if problem := address_problem(entry):
            raise ConfigError(f"{TEACHER_URLS}: an address {problem}")
    variable = os.environ.get(TEACHER_KEY_ENV, "").strip() or _OPENAI_KEY
    if not any(_is_below(url, entry) for entry in allowed):
        if not _is_loopback(url):
            raise ConfigError(
                f"keywords.openai.base_url: runs on this machine may ask {', '.join(allowed)}, not {url}; whoever "
                f"operates it can add an address to the environment variable {TEACHER_URLS}"
            )
        return Endpoint(url, "", variable)
    key = os.environ.get(variable, "").strip()
    if not key and not _is_loopback(url):
        raise TeacherError(
            f"keywords.teacher is openai, but the environment variable {variable} holds no key for {url}; set it (to "
            f"any word, where the endpoint asks for none), name another variable in {TEACHER_KEY_ENV}, or use "
            f"keywords.teacher=keyless"
        )
    if not (key.isascii() and key.isprintable()):
        raise TeacherError(f"the environment variable {variable} holds characters that no key has; set it again")
    return Endpoint(url, key, variable)


def check_roots(config: Config) -> None:
    """Raise ConfigError where a run would read or write outside the operator's roots; symbolic links are followed."""
    check_writable("store", config.store)
    for name, path in _on_disk(config):
        if name != "store":
            check_readable(name, path)


def check_readable(name: str, path: str | Path) -> None:
    """Raise ConfigError, naming the field or file `name`, where `path` leads outside the roots for reading.

    Files of installed packages (the wheels that carry the default models and data) can always be read.
    """
    roots = _listed(READ_ROOTS)
    if roots and not _is_within(str(path), [*(root for root in roots if not is_url(root)), *_packages()]):
        raise _outside(name, path, roots, READ_ROOTS)


def check_url(name: str, url: str) -> None:
    """Raise ConfigError, naming the field `name`, where raw files at `url` may not be read."""
    allowed = _listed(READ_URLS)
    if not any(_is_below(url, entry) for entry in allowed):
        raise ConfigError(
            f"{name}: runs on this machine may read raw files below {', '.join(allowed) or 'no address'}, not {url}; "
            f"whoever operates it can add an address to the environment variable {READ_URLS}"
        )


def check_writable(name: str, path: str | Path) -> None:
    """Raise ConfigError, naming the field `name`, where `path` leads outside the roots for writing."""
    roots = _listed(WRITE_ROOTS)
    if roots and not _is_within(str(path), roots):
        raise _outside(name, path, roots, WRITE_ROOTS)


def writable_folder(name: str, path: str | Path) -> Path:
    """The folder `path`, made where it is missing, in which a file was just made: known before work goes into it.

    Raises:
        ConfigError: it leads outside the roots for writing, or cannot be written; names the field `name`.
    """
    check_writable(name, path)
    try:
        folder = Path(path).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: an unknown user
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"{name}: {path} cannot be written ({reason}); name a folder where files can be made"
        ) from None


def _on_disk(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every field that names something on disk, as `section.field`, with its value."""
    for name, info in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from _on_disk(value, f"{prefix}{name}.")
        for mark in info.metadata:
            # What may be elsewhere (on the model hub, beside the data) is only a path where something lies.
            if isinstance(mark, OnDisk) and value and not (mark.may_be_elsewhere and not _lies_here(value)):
                yield f"{prefix}{name}", value


def _lies_here(path: str) -> bool:
    try:
        return Path(path).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        return False


def _outside(name: str, path: str | Path, roots: list[str], variable: str) -> ConfigError:
    return ConfigError(
        f"{name}: {path} is, or leads, outside the folders that runs on this machine may use ({', '.join(roots)}); "
        f"whoever operates it sets them in the environment variable {variable}"
    )


def _is_within(path: str, roots: list[str]) -> bool:
    if is_url(path):
        return any(_is_below(path, root) for root in roots)
    try:
        whole = Path(path).expanduser().resolve()
        return any(whole.is_relative_to(Path(root).expanduser().resolve()) for root in roots if not is_url(root))
    except (OSError, RuntimeError, ValueError):  # a circle of links, an unknown user, a null byte
        return False


def _is_below(url: str, allowed: str) -> bool:
    """Whether `url` has the scheme, user, host and port of `allowed`, and a path at or below its path; that of a file
    of this machine when symbolic links are followed, too."""
    if not is_url(allowed) or place_problem(url) or ".." in re.split(r"[/\\]", unquote(url)):
        return False
    *host, path = location(url)
    *allowed_host, root = location(allowed)
    root = root.rstrip("/")
    if host != allowed_host or not (path.rstrip("/") == root or path.startswith(f"{root}/")):
        return False
    return scheme_of(url) not in LOCAL_SCHEMES or _is_within(host[1] + path, [host[1] + root])


def _is_loopback(url: str) -> bool:
    return is_loopback(urlsplit(url).hostname or "")


def _packages() -> list[str]:
    return [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]


def _listed(variable: str) -> list[str]:
    return [part.strip().rstrip("/") or "/" for part in os.environ.get(variable, "").split(",") if part.strip()]

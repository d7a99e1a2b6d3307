"""Which exact model a setting names: the files of a local folder, or a commit of the model hub. Loads nothing.

The hub's library is imported where a name may be one of the hub.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from tsrec.errors import ConfigError, in_one_line

_ASKING_S = 5.0
# Copies of the same weights for other runtimes, and what training left behind.
_NOT_READ = ("onnx", "openvino", "checkpoint-", ".")


def local_folder(name: str) -> Path | None:
    """The folder that `name` is, or None where it must be a name of the hub."""
    folder = Path(name).expanduser()
    return folder if folder.is_dir() else None


def why_not_loaded(error: Exception) -> str:
    """What a library says where it cannot load a model, on one line; in our words where that is the model's own code.

    All that loads a model says `trust_remote_code=False`: left out, transformers asks the terminal, and runs the code
    where the answer is yes.
    """
    if "trust_remote_code" in str(error):
        return "it needs Python code that comes with it, which is never run here; choose a model without"
    return in_one_line(error)


def files_of(folder: Path, patterns: Iterable[str]) -> dict[str, Path]:
    """The files below `folder` that fit a pattern and are read by loaders, by their relative names."""
    found = {file for pattern in patterns for file in folder.rglob(pattern) if file.is_file()}
    named = {file.relative_to(folder).as_posix(): file for file in sorted(found)}
    return {name: file for name, file in named.items() if not any(p.startswith(_NOT_READ) for p in name.split("/"))}


def cached_commit(name: str) -> str | None:
    """The commit of the hub's model `name` that lies in the local cache, and would be loaded without a network."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    try:
        ref = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="model") / "refs" / "main"
        return ref.read_text(encoding="ascii").strip() or None
    except (OSError, ValueError):  # not there, or no name that the hub could have
        return None


def commit_of(field: str, name: str) -> dict[str, str]:
    """`{"commit": ...}` of the hub's model `name`: the one in the cache, else the hub's newest; empty where neither
    is known, as without a network.

    Raises:
        ConfigError: `name`, the value of `field`, is neither a folder here nor a model of the hub.
    """
    if commit := cached_commit(name):
        return {"commit": commit}
    if os.sep in name and name.startswith((os.sep, ".", "~")):
        raise ConfigError(f"{field}: {name}: no such folder")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    try:
        commit = HfApi().model_info(name, timeout=_ASKING_S).sha
    except (HFValidationError, RepositoryNotFoundError):
        raise ConfigError(f"{field}: {name!r} is neither a folder here nor a model that the hub shows us") from None
    except Exception:
        # No network, a slow hub, a refused one: several libraries' errors. Whoever loads it tells, if it matters then.
        return {}
    return {"commit": commit} if commit else {}

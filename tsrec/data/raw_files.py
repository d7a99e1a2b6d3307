"""Which raw files there are: one, part files in a folder, daily files, given splits. Knows names; reads bytes only to
find files that come twice.

Files come in a fixed order: train before valid before test where names say so, and numbers in names by their value.
"""

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Literal

from tsrec.columns import Split
from tsrec.config import IngestConfig
from tsrec.data.compressed_files import is_archive, is_packed
from tsrec.data.fetching import fetch
from tsrec.data.files import RawFile, file_format
from tsrec.errors import ConfigError, DataError
from tsrec.machine.addresses import is_url
from tsrec.store import cached_sha256

Role = Literal["items", "interactions"]
_SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), Split.TRAIN),
    **dict.fromkeys(("valid", "validation", "val", "dev"), Split.VALID),
    "test": Split.TEST,
}
_SHOWN_NAMES = 10
_FROM_LOG = "; where the interactions carry the titles, map ingest.item_columns onto them"
_NOT_PLAIN = {
    "_delta_log": "a Delta table, whose old files lie beside the new ones; write its present state as plain Parquet",
    "_temporary": "Spark has not finished writing here, or was stopped; wait for it, or write again",
}
_SPLIT_ORDER = {split.value: number for number, split in enumerate(Split)}


def find_both(
    config: IngestConfig, item_patterns: Sequence[tuple[str, ...]], event_patterns: Sequence[tuple[str, ...]]
) -> tuple[tuple[RawFile, ...], tuple[RawFile, ...]]:
    """The files of items and of interactions, in the order in which they are read: those that `ingest.items_file` and
    `interactions_file` name within `ingest.path`, or else those that fit the patterns.

    Items are taken out of the interactions where both settings name the same, or where there is no file of items and
    `ingest.item_columns` says how they are called.

    Args:
        config: the stage's section.
        item_patterns: groups of shell patterns in lower case for names in the folder; the first with a match counts.
        event_patterns: the same for interactions; files of items are not meant.

    Raises:
        ConfigError: `ingest.path` is not set, or a URL is named that the operator does not allow.
        DataError: no such folder or file, or several files of which it is not clear whether all are meant.
    """
    is_log = config.items_file is not None and config.items_file == config.interactions_file
    items = () if is_log else _find(config, "items", item_patterns)
    events = _find(config, "interactions", event_patterns, taken=items)
    return items or tuple(replace(file, is_log=True) for file in events), events


def _find(
    config: IngestConfig, role: Role, patterns: Sequence[tuple[str, ...]], taken: Sequence[RawFile] = ()
) -> tuple[RawFile, ...]:
    named = getattr(config, f"{role}_file")
    if named is not None and is_url(named):
        copies = [RawFile(path, name, fetched=True) for path, name in fetch(named, f"ingest.{role}_file")]
        return _in_order(_with_splits(copies, config, role, given=True))
    may_lack = role == "items" and bool(config.item_columns.renamed())
    if config.path is None:
        if may_lack:
            return ()
        raise ConfigError(f"ingest.path: source {config.source!r} needs the folder of the raw files")
    folder = Path(config.path).expanduser()
    used = {file.path for file in taken}
    if named is not None:
        found = _files_by_setting(folder, named, role, used)
    elif folder.is_dir():
        found = _files_by_pattern(folder, config, role, patterns, used)
        if not found and may_lack:
            return ()
        if not found:
            takes_columns = role == "items" and not config.source.startswith("movielens")
            raise DataError(_no_match_message(folder, role, patterns) + _FROM_LOG * takes_columns)
    else:
        problem = "a file, not a folder" if folder.is_file() else "no such folder"
        problem = "an archive; unpack it" if folder.is_file() and is_archive(folder) else problem
        raise DataError(f"{folder}: {problem}; set ingest.path to the folder that holds the raw files")
    files = [file for path in found for file in _files_in(path)]
    if not files:
        raise DataError(f"{found[0]}: the folder holds no files; set ingest.{role}_file")
    return _in_order(_with_splits(_relative(files, folder), config, role, given=named is not None))


def without_repeated_files(files: Sequence[RawFile]) -> list[RawFile]:
    """The files without those whose bytes, and what their names say of the rows, are an earlier one's."""
    found: dict[tuple[str, ...], RawFile] = {}
    for file in files:
        partitions = (folder for folder in PurePosixPath(file.name).parts[:-1] if "=" in folder)
        found.setdefault((cached_sha256(file.path), file.split or "", *partitions), file)
    return list(found.values())


def _files_by_setting(folder: Path, named: str, role: Role, taken: set[Path]) -> list[Path]:
    path = folder / Path(named).expanduser()
    if path.exists():  # before it is read as a pattern: a file may be called [1].csv
        return [path]
    matches = glob.glob(str(path), recursive=True) if glob.has_magic(named) else []  # noqa: PTH207
    found = [match for match in map(Path, matches) if not taken.intersection((match, *_files_in(match)))]
    if not found:
        what = "no file fits this pattern" if glob.has_magic(named) else "no such file"
        what = "only files that are already named for items fit this pattern" if matches else what
        raise DataError(f"{path}: {what}; see ingest.{role}_file and ingest.path")
    return found


def _files_by_pattern(
    folder: Path, config: IngestConfig, role: Role, patterns: Sequence[tuple[str, ...]], taken: set[Path]
) -> list[Path]:
    any_suffix = getattr(config, f"{role}_format").separator is not None
    for group in patterns:
        found = [
            path
            for path in sorted(folder.iterdir())
            if any(fnmatch(path.name.lower(), pattern) for pattern in group)
            and not _is_hidden(path.name)
            and not taken.intersection((path, *_files_in(path)))
            and (path.is_dir() or any_suffix or file_format(path))
        ]
        found = [path for path in found if not _is_unpacked_beside(path, found)]
        if len(found) > 1 and not _are_parts(found):
            names = ", ".join(path.name for path in found)
            raise DataError(
                f"{folder}: expected one file of {role}, found {names}; set ingest.{role}_file to the one that is "
                f"meant, or to a pattern such as '{_pattern_of(found)}' to read all"
            )
        if found:
            return found
    return []


def _no_match_message(folder: Path, role: Role, patterns: Sequence[tuple[str, ...]]) -> str:
    wanted = " or ".join(group[0] for group in patterns)
    there = sorted(path.name for path in folder.iterdir() if not _is_hidden(path.name))
    holds = ", ".join(there[:_SHOWN_NAMES]) + (" ..." if len(there) > _SHOWN_NAMES else "")
    there_is = f"set ingest.{role}_file (there is {holds or 'nothing'})"
    archives = [f"; {name} is an archive: unpack it" for name in there if is_archive(Path(name))]
    return f"{folder}: expected one file {wanted}, found none; {there_is}{''.join(archives[:1])}"


def _is_unpacked_beside(path: Path, found: list[Path]) -> bool:
    """Is it a packed file that somebody has unpacked beside it?"""
    return is_packed(path) and any(path.stem in (other.name, other.stem) for other in found if not is_packed(other))


def _are_parts(found: list[Path]) -> bool:
    """Do the names differ in nothing but numbers (and dates), or in the split that they name?"""
    shapes = {re.sub(r"\d+", "0", path.name) for path in found}
    splits = [split_of(path.name) for path in found]
    if all(splits):
        shapes = {re.sub(rf"(?<![^._-])({'|'.join(_SPLIT_WORDS)})(?![^._-])", "", shape.lower()) for shape in shapes}
    return len(shapes) == 1


def _pattern_of(found: list[Path]) -> str:
    names = [path.name for path in found]
    start, end = _shared_start(names), _shared_start([name[::-1] for name in names])[::-1]
    rest = min(map(len, names)) - len(start)  # the two must not overlap
    return f"{start}*{end[-rest:] if rest else ''}"


def _shared_start(names: list[str]) -> str:
    return os.path.commonprefix(names)  # noqa: RUF071 (of letters, not of folders)


def _files_in(path: Path) -> list[Path]:
    """The file itself, or all within a folder but for `_SUCCESS`, `.part.crc` and the like."""
    if not path.is_dir():
        return [path]
    for name, problem in _NOT_PLAIN.items():
        if (path / name).exists():
            raise DataError(f"{path}: {problem}")
    inside = [file for file in path.rglob("*") if file.is_file()]
    return [file for file in inside if not any(_is_hidden(part) for part in file.relative_to(path).parts)]


def _is_hidden(name: str) -> bool:
    return name.startswith(("_", "."))


def _relative(files: list[Path], folder: Path) -> list[RawFile]:
    is_inside = all(file.is_relative_to(folder) for file in files)
    root = folder if is_inside else Path(os.path.commonpath([file.parent for file in files]))
    return [RawFile(file, file.relative_to(root).as_posix()) for file in files]


def split_of(name: str) -> str | None:
    """The split that a file's name gives: `ml.train.inter`, `test-00000-of-00002.parquet`, `dev/log.csv`."""
    words = {_SPLIT_WORDS[word] for word in re.split(r"[._/-]", name.lower()) if word in _SPLIT_WORDS}
    return words.pop().value if len(words) == 1 else None


def _with_splits(files: list[RawFile], config: IngestConfig, role: Role, given: bool) -> list[RawFile]:
    splits = [split_of(file.name) for file in files]
    if role == "items" or not all(splits):
        return files
    if config.split == "column":
        return [replace(file, split=split) for file, split in zip(files, splits, strict=True)]
    if len(set(splits)) > 1 and not given:
        names = ", ".join(file.name for file in files)
        pattern = _pattern_of([file.path for file in files])
        raise DataError(
            f"{files[0].path.parent}: {names} are given splits; set ingest.split=column to keep them, or "
            f"ingest.interactions_file='{pattern}' to read them as one log that ingest.split={config.split} splits anew"
        )
    return files


def _in_order(files: list[RawFile]) -> tuple[RawFile, ...]:
    def key(file: RawFile) -> tuple[int, list[tuple[int, str]], str]:
        parts = re.split(r"(\d+)", file.name)
        natural = [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
        return _SPLIT_ORDER[split_of(file.name) or Split.TRAIN.value], natural, file.name

    return tuple(sorted(files, key=key))

"""Recommendations for many users, as Parquet parts in a folder: `user_id, rank, item_id, score, proposed_by, reason`.

Users come one after the other in order of their ids, shard by shard; a killed call goes on at the shard it was at, and
memory does not grow with the number of users. Parts appear when all are made, `_manifest.json` (what was asked of which
model, how many rows, hashes) last: without it the folder is not whole.
"""

import hashlib
import itertools
import json
import logging
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tsrec import permissions
from tsrec.columns import Columns as C
from tsrec.config import ALL_USERS, Wish, canonical
from tsrec.errors import ConfigError, DataError
from tsrec.machine.progress import progress
from tsrec.recommenders.explain import Explainer
from tsrec.recommenders.id_lists import SAMPLE, check_unknown_ids, likely_header, read_lines, warn_header
from tsrec.recommenders.recommender import Recommendation, Recommender
from tsrec.recommenders.users import User, all_users, listed_users
from tsrec.store import Artifact, Lineage, canonical_json, file_sha256, locks
from tsrec.store.refusals import in_words
from tsrec.store.work_files import discard, kept_table, write_text_whole

logger = logging.getLogger(__name__)

MANIFEST = "_manifest.json"  # what begins with _ or . is no data to readers of Parquet folders

_VERSION = 2  # raised when the same job gives other rows
_WORK = ".shards"
_PART = re.compile(r"part-\d+\.parquet")
_SCHEMA = pa.schema(
    [
        (C.USER, pa.string()),
        (C.RANK, pa.int32()),
        (C.ITEM, pa.string()),
        (C.SCORE, pa.float32()),  # null: popularity filled the list
        (C.PROPOSED_BY, pa.list_(pa.string())),
        ("reason", pa.string()),
    ]
)


@dataclass(frozen=True)
class Batch:
    """A finished folder: its `parts`, and what was counted."""

    folder: Path
    parts: list[Path]
    counts: dict[str, int]


def recommend_users(lineage: Lineage, fuse: Artifact, wish: Wish) -> Batch:
    """Write what `wish` asks of the model `fuse` into the folder `wish.out`, or find it there.

    Exactly K distinct items for every user, or all that may be shown where those are fewer (counted as `n_short`).

    Raises:
        ConfigError: the folder cannot be written or holds what this function did not write, or something lies where
            runs must not work.
        DataError: a list of ids cannot be read, or leaves nothing to recommend.
        ArtifactError: the model, or one that it was made from, is gone or damaged; or the disk refuses.
    """
    job = _job(fuse, wish)
    folder = permissions.writable_folder("out", wish.out)
    with in_words(folder):
        return _write(lineage, fuse, wish, folder, job)


def _write(lineage: Lineage, fuse: Artifact, wish: Wish, folder: Path, job: dict[str, Any]) -> Batch:
    if (folder / _WORK).is_symlink():  # else what it leads to would be emptied
        raise ConfigError(f"{folder / _WORK}: a link, where shards are kept; remove it, or choose another folder")
    with locks.hold(folder / _WORK):
        if done := _finished(folder, job):
            logger.info("%s: all of it is there already", folder)
            return done
        _check_ours(folder)
        work = folder / _WORK / hashlib.sha256(canonical_json(job).encode()).hexdigest()[:16]
        for other in work.parent.glob("*"):
            if other != work:
                discard(other)  # shards of another job
        work.mkdir(parents=True, exist_ok=True)
        shards = _make_shards(lineage, fuse, wish, work)
        return _put_in_place(shards, folder, job)


def allowed_items(recommender: Recommender, wish: Wish) -> list[str] | None:
    """The items that the two lists of a wish leave of the catalogue; None: all of it.

    Raises:
        DataError: a list cannot be read, more than `max_unknown` of it is not known, or nothing is left.
    """
    if not wish.allow and not wish.deny:
        return None
    catalogue = recommender.catalogue.item_ids
    wanted = _items_of(recommender, "allow", wish.allow, wish.max_unknown) if wish.allow else set(catalogue)
    denied = _items_of(recommender, "deny", wish.deny, wish.max_unknown) if wish.deny else set()
    left = [item for item in catalogue if item in wanted and item not in denied]
    if not left:
        raise DataError(
            f"{wish.allow or wish.deny}: leaves no item of the catalogue to recommend; are these its item ids?"
        )
    return left


def _items_of(recommender: Recommender, what: str, file: str, max_unknown: float) -> set[str]:
    """The ids of a list; what is wrong with it is said in the log, or raised where it is much."""
    path = Path(file)
    ids = list(read_lines(path))
    header = likely_header(path)
    if header is not None and recommender.unknown([header]):
        warn_header(what, path, header)
        ids = [item for item in ids if item != header]
    if not ids:
        raise DataError(f"{what}: {file}: holds no id; expected one a line")
    unknown = recommender.unknown(ids)
    known = recommender.catalogue.item_ids.tolist()
    check_unknown_ids(what, path, unknown[:SAMPLE], len(unknown), len(ids), known, max_unknown)
    return set(ids)


def _job(fuse: Artifact, wish: Wish) -> dict[str, Any]:
    """Everything that the rows depend on, with what is in a file in place of its name."""
    hashes = {}
    for name in ("users", "allow", "deny"):
        file = getattr(wish, name)
        if not file or (name == "users" and file == ALL_USERS):
            continue
        permissions.check_readable(name, file)
        if not Path(file).is_file():
            raise DataError(f"{name}: {file}: no such file")
        hashes[name] = file_sha256(Path(file))
    return {**canonical(wish), **hashes, "model": fuse.fingerprint, "version": _VERSION}


def _finished(folder: Path, job: dict[str, Any]) -> Batch | None:
    """What is there already, where it is whole and of this very job."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        whole = all(
            _PART.fullmatch(name) and file_sha256(folder / name) == sha256 for name, sha256 in manifest["files"].items()
        )
        if manifest["job"] != job or not whole:
            return None
        return Batch(folder, [folder / name for name in manifest["files"]], manifest["counts"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _check_ours(folder: Path) -> None:
    foreign = next(folder.glob("*.parquet"), None)
    if foreign and not (folder / MANIFEST).exists() and not (folder / _WORK).exists():
        raise ConfigError(f"{foreign}: was not written by `tsrec recommend`; choose another folder, or empty it")


def _make_shards(lineage: Lineage, fuse: Artifact, wish: Wish, work: Path) -> list[Path]:
    ingest = lineage.parent(fuse, "ingest")
    recommender = Recommender.from_artifact(
        lineage, fuse, wish.method, repeats="forbidden" if wish.no_repeats else None
    )
    explainer = Explainer(lineage, fuse)
    allowed = allowed_items(recommender, wish)
    users = all_users(ingest)
    if wish.users != ALL_USERS:
        users = listed_users(ingest, Path(wish.users), work, wish.max_unknown)
    recommend = partial(recommender.recommend, k=wish.k, allowed=allowed)
    shards = []
    with progress(desc="recommending", unit="user") as bar:
        for number, some in enumerate(_in_shards(users, wish.shard_users)):
            path = work / f"part-{number:06d}.parquet"
            kept_table(path, partial(_rows, some, recommend, explainer))
            shards.append(path)
            bar.update(len(some))
    return shards


def _in_shards(users: Iterable[User], size: int) -> Iterator[list[User]]:
    there = iter(users)
    while some := list(itertools.islice(there, size)):
        yield some


def _rows(
    users: list[User], recommend: Callable[[list[list[str]]], list[list[Recommendation]]], explainer: Explainer
) -> pa.Table:
    """The rows of one shard; what is counted of it stands in the table's metadata."""
    lists = recommend([history for _, history in users])
    rows = [
        {
            C.USER: user,
            C.RANK: rank,
            C.ITEM: item.item_id,
            C.SCORE: item.score,
            C.PROPOSED_BY: list(item.proposed_by),
            "reason": explainer.reason(item.item_id, history, filled=item.score is None),
        }
        for (user, history), found in zip(users, lists, strict=True)
        for rank, item in enumerate(found, start=1)
    ]
    longest = max(map(len, lists))
    counts = {
        "n_users": len(users),
        "n_users_without_history": sum(not history for _, history in users),
        "n_filled_by_popularity": sum(row[C.SCORE] is None for row in rows),
        "longest": longest,
        "n_longest": sum(len(found) == longest for found in lists),
    }
    table = pa.Table.from_pylist(rows, schema=_SCHEMA)
    return table.replace_schema_metadata({name: str(count) for name, count in counts.items()})


def _put_in_place(shards: list[Path], folder: Path, job: dict[str, Any]) -> Batch:
    """Move finished shards into the folder, and say last that it is whole."""
    counts = {"n_users": 0, "n_users_without_history": 0, "n_filled_by_popularity": 0, "n_short": 0, "n_rows": 0}
    for shard in shards:
        parquet = pq.ParquetFile(shard)
        mine = {name.decode(): int(count) for name, count in parquet.schema_arrow.metadata.items()}
        for name in ("n_users", "n_users_without_history", "n_filled_by_popularity"):
            counts[name] += mine[name]
        counts["n_short"] += mine["n_users"] - (mine["n_longest"] if mine["longest"] == job["k"] else 0)
        counts["n_rows"] += parquet.metadata.num_rows
    (folder / MANIFEST).unlink(missing_ok=True)
    for old in folder.glob("part-*.parquet"):
        old.unlink()
    parts = [shard.replace(folder / shard.name) for shard in shards]
    files = {part.name: file_sha256(part) for part in parts}
    manifest = {"job": job, "counts": counts, "files": files}
    write_text_whole(folder / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True))
    shutil.rmtree(folder / _WORK)
    return Batch(folder, parts, counts)

"""Batch recommendations: many users' lists as Parquet parts in a folder.

Columns are `user_id, rank, item_id, score, proposed_by, reason`. Users come in order of their ids, shard by shard. A
killed call goes on at the shard it was at, and memory does not grow with the number of users. Parts are moved into the
folder when all are made, and `_manifest.json` is written last: a folder without it is not complete. The manifest says
what was asked of which model, how many rows there are, and the hashes of the parts.
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

from tsrec import permissions
from tsrec.columns import Columns as C
from tsrec.config import ALL_USERS, BatchRequest, Repeats, canonical
from tsrec.errors import ConfigError, DataError
from tsrec.machine.progress import progress
from tsrec.recommenders.explain import Explainer
from tsrec.recommenders.id_lists import SAMPLE, check_unknown_ids, likely_header, read_lines, warn_header
from tsrec.recommenders.recommender import Recommendation, Recommender
from tsrec.recommenders.users import User, all_users, listed_users, write_ids
from tsrec.store import Artifact, ArtifactStore, Lineage, canonical_json, file_sha256, locks
from tsrec.store.disk_errors import explain_disk_errors
from tsrec.store.parquet_file import open_parquet
from tsrec.store.shards import Shard
from tsrec.store.shared_shards import Distribute, SharedShards, remove_remote_shards
from tsrec.store.work_files import discard, is_whole, kept_table, write_text_whole

logger = logging.getLogger(__name__)

MANIFEST = "_manifest.json"  # what begins with _ or . is no data to readers of Parquet folders

_VERSION = 3  # raised when the same job gives other rows
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
    """A complete folder: its Parquet `parts`, and the `counts` of users and rows."""

    folder: Path
    parts: list[Path]
    counts: dict[str, int]


def recommend_users(
    lineage: Lineage, fuse: Artifact, request: BatchRequest, distribute: Distribute | None = None
) -> Batch:
    """Write what `request` asks of the model `fuse` into the folder `request.out`, or find it there.

    Every user gets exactly K distinct items, or all that may be shown where those are fewer (counted as `n_short`).

    Args:
        lineage: of the store.
        fuse: the model.
        request: users, number of items, filters and folder.
        distribute: has other processes make parts first.

    Raises:
        ConfigError: the folder cannot be written or holds what this function did not write, or something lies where
            runs must not work.
        DataError: a list of ids cannot be read, or leaves nothing to recommend.
        ArtifactError: the model, or one that it was made from, is gone or damaged; or the disk refuses.
    """
    job = _job(fuse, request)
    folder = permissions.writable_folder("out", request.out)
    with explain_disk_errors(folder):
        return _write(lineage, fuse, request, folder, job, distribute)


def _write(
    lineage: Lineage,
    fuse: Artifact,
    request: BatchRequest,
    folder: Path,
    job: dict[str, Any],
    distribute: Distribute | None,
) -> Batch:
    if (folder / _WORK).is_symlink():  # else what it leads to would be emptied
        raise ConfigError(f"{folder / _WORK}: a link, where shards are kept; remove it, or choose another folder")
    with locks.hold(folder / _WORK):
        if done := _finished(folder, job):
            logger.info("%s: all of it is there already", folder)
            return done
        _check_no_foreign_files(folder)
        work = folder / _WORK / hashlib.sha256(canonical_json(job).encode()).hexdigest()[:16]
        for other in work.parent.glob("*"):
            if other != work:
                discard(other)  # shards of another job
        work.mkdir(parents=True, exist_ok=True)
        place = f"{fuse.manifest.key.dataset}/recommend/{work.name}"
        shared = SharedShards(BatchShards(place, fuse, request), lineage.store, work.absolute())
        shared.fetch()
        parts = _open_parts(lineage, fuse, request, work)
        if distribute:
            shared.have_made(parts(), distribute)
        shards = []
        with progress(desc="recommending", unit="user") as bar:
            for shard in parts():
                shard.table()
                shards.append(shard.path)
                bar.update(shard.n)
        batch = _publish_parts(shards, folder, job)
        remove_remote_shards(lineage.store, place)
        return batch


def allowed_items(recommender: Recommender, request: BatchRequest) -> list[str] | None:
    """The items that the two lists of a request leave of the catalogue; None: all of it.

    Raises:
        DataError: a list cannot be read, more than `max_unknown` of it is not known, or nothing is left.
    """
    if not request.allow and not request.deny:
        return None
    catalogue = recommender.catalogue.item_ids
    allowed = (
        _read_item_list(recommender, "allow", request.allow, request.max_unknown) if request.allow else set(catalogue)
    )
    denied = _read_item_list(recommender, "deny", request.deny, request.max_unknown) if request.deny else set()
    left = [item for item in catalogue if item in allowed and item not in denied]
    if not left:
        raise DataError(
            f"{request.allow or request.deny}: leaves no item of the catalogue to recommend; are these its item ids?"
        )
    return left


def _read_item_list(recommender: Recommender, setting: str, file: str, max_unknown: float) -> set[str]:
    """The item ids of a text file that `setting` names. Unknown ids are logged, or raised where they are many."""
    path = Path(file)
    ids = list(read_lines(path))
    header = likely_header(path)
    if header is not None and recommender.unknown([header]):
        warn_header(setting, path, header)
        ids = [item for item in ids if item != header]
    if not ids:
        raise DataError(f"{setting}: {file}: holds no id; expected one a line")
    unknown = recommender.unknown(ids)
    known = recommender.catalogue.item_ids.tolist()
    check_unknown_ids(setting, path, unknown[:SAMPLE], len(unknown), len(ids), known, max_unknown)
    return set(ids)


def _job(fuse: Artifact, request: BatchRequest) -> dict[str, Any]:
    """Everything that the rows depend on, with what is in a file in place of its name."""
    hashes = {}
    for name in ("users", "allow", "deny"):
        file = getattr(request, name)
        if not file or (name == "users" and file == ALL_USERS):
            continue
        permissions.check_readable(name, file)
        if not Path(file).is_file():
            raise DataError(f"{name}: {file}: no such file")
        hashes[name] = file_sha256(Path(file))
    return {**canonical(request), **hashes, "model": fuse.fingerprint, "version": _VERSION}


def _finished(folder: Path, job: dict[str, Any]) -> Batch | None:
    """The batch that the folder holds, if it is complete and of this job."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        is_intact = all(
            _PART.fullmatch(name) and file_sha256(folder / name) == sha256 for name, sha256 in manifest["files"].items()
        )
        if manifest["job"] != job or not is_intact:
            return None
        return Batch(folder, [folder / name for name in manifest["files"]], manifest["counts"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _check_no_foreign_files(folder: Path) -> None:
    foreign = next(folder.glob("*.parquet"), None)
    if foreign and not (folder / MANIFEST).exists() and not (folder / _WORK).exists():
        raise ConfigError(f"{foreign}: was not written by `tsrec recommend`; choose another folder, or empty it")


@dataclass(frozen=True)
class BatchShards:
    """The parts of a batch, for processes that make some: `path` in the store names the job."""

    path: str
    fuse: Artifact
    request: BatchRequest

    def shards(self, store: ArtifactStore, work: Path) -> Iterator[Shard]:
        """All parts; the model and the histories are read from `store`, the lists of the request from `work`."""
        return _open_parts(Lineage(store), store.verified(self.fuse), self.request, work)()


def _open_parts(lineage: Lineage, fuse: Artifact, request: BatchRequest, work: Path) -> Callable[[], Iterator[Shard]]:
    """Open the model. What is returned gives the parts one by one; memory holds the users of one.

    The lists of the request are copied to `work`: other processes may not see them elsewhere.
    """
    ingest = lineage.parent(fuse, "ingest")
    repeats: Repeats | None = "forbidden" if request.no_repeats else None
    recommender = Recommender.from_artifact(lineage, fuse, request.method, repeats)
    allowed, listed = None, None
    if request.allow or request.deny:
        kept = kept_table(
            work / "allowed.parquet", lambda: pa.table({C.ITEM: pa.array(allowed_items(recommender, request))})
        )
        allowed = kept[C.ITEM].to_pylist()
    if request.users != ALL_USERS:
        listed = work / "users.parquet"
        if not is_whole(listed):
            write_ids(ingest, Path(request.users), listed, request.max_unknown)
    recommend, explainer = partial(recommender.recommend, k=request.k, allowed=allowed), Explainer(lineage, fuse)

    def parts() -> Iterator[Shard]:
        users = listed_users(ingest, listed) if listed else all_users(ingest)
        for number, some in enumerate(_in_shards(users, request.shard_users)):
            make = partial(_shard_table, some, recommend, explainer)
            yield Shard(work / f"part-{number:06d}.parquet", make, len(some))

    return parts


def _in_shards(users: Iterable[User], size: int) -> Iterator[list[User]]:
    remaining = iter(users)
    while shard := list(itertools.islice(remaining, size)):
        yield shard


def _shard_table(
    users: list[User], recommend: Callable[[list[list[str]]], list[list[Recommendation]]], explainer: Explainer
) -> pa.Table:
    """The rows of one shard; its counts are metadata of the table."""
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
        for (user, history), items in zip(users, lists, strict=True)
        for rank, item in enumerate(items, start=1)
    ]
    longest = max(map(len, lists))
    counts = {
        "n_users": len(users),
        "n_users_without_history": sum(not history for _, history in users),
        "n_filled_by_popularity": sum(row[C.SCORE] is None for row in rows),
        "longest": longest,
        "n_longest": sum(len(items) == longest for items in lists),
    }
    table = pa.Table.from_pylist(rows, schema=_SCHEMA)
    return table.replace_schema_metadata({name: str(count) for name, count in counts.items()})


def _publish_parts(shards: list[Path], folder: Path, job: dict[str, Any]) -> Batch:
    """Move finished shards into the folder as its parts, and write the manifest last."""
    counts = {"n_users": 0, "n_users_without_history": 0, "n_filled_by_popularity": 0, "n_short": 0, "n_rows": 0}
    for shard in shards:
        parquet = open_parquet(shard)
        shard_counts = {name.decode(): int(count) for name, count in parquet.schema_arrow.metadata.items()}
        for name in ("n_users", "n_users_without_history", "n_filled_by_popularity"):
            counts[name] += shard_counts[name]
        n_full = shard_counts["n_longest"] if shard_counts["longest"] == job["k"] else 0
        counts["n_short"] += shard_counts["n_users"] - n_full
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

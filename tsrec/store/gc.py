"""Garbage collection: what of a store is still wanted, and removing the rest.

Wanted, with all their ancestors, are
- what the newest finished runs of every profile use, and any run of the profile that started after the oldest of them,
  finished or not: a run is recorded when it starts (`runs`), so that one started again counts as new; what it had
  half built when it was killed stays with it;
- every data set's champion, and those before it that a rollback would lead to next, with the members that serve; and
  the best since the last rebuild, which the next refresh is compared with;
- the newest reports of every data set among those that no run is recorded for (made without a run);
- what belongs to no run and no report and is newer than the newest report of its data set: somebody's work in progress.
What is being built, here or on another machine, is left alone. What an artifact only extended (a *base*) is no ancestor
in this sense: it holds all that it took over.
"""

import logging
import shutil
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tsrec.store import locks
from tsrec.store.artifact import Artifact
from tsrec.store.champions import MODEL_STAGE, SERVED, all_moves, best_of, champion_stack
from tsrec.store.manifest import SHARED, is_base
from tsrec.store.notes import remove_note
from tsrec.store.runs import Run, recorded_runs
from tsrec.store.store import ABANDONED_AFTER, PARTIAL, ArtifactStore

logger = logging.getLogger(__name__)

REPORT = "report"
KEPT_CHAMPIONS = 3  # the present one, and two to go back to


@dataclass(frozen=True)
class Garbage:
    """What a collection removes, and what it leaves alone: `in_use`, because somebody works on it now, and `to_resume`,
    the half-built artifacts of killed runs, from which these go on when they are started again.

    `kept_runs` are the recorded runs whose artifacts stay, `old_runs` the records that go; `leftovers` are folders of
    this machine, `uploads` abandoned uploads in a remote, relative to the store.
    """

    artifacts: list[Artifact]
    leftovers: list[Path]
    uploads: list[str]
    in_use: list[Path]
    to_resume: list[Path]
    kept_runs: list[Run]
    old_runs: list[Run]

    @property
    def n_bytes(self) -> int:
        """Bytes that go, abandoned uploads aside."""
        stored = sum(entry.n_bytes for artifact in self.artifacts for entry in artifact.manifest.files.values())
        return stored + sum(_size(folder) for folder in self.leftovers)


def collect_garbage(store: ArtifactStore, keep: int) -> None:
    """Remove what nobody wants any more, as `tsrec artifacts gc` does, with a line in the log."""
    garbage = find_garbage(store, keep)
    collect(store, garbage)
    logger.info(
        "garbage: %d artifacts and %d leftovers removed, %.1f MB; what is in use, the champions and the newest %d "
        "run(s) of every profile stay",
        len(garbage.artifacts),
        len(garbage.leftovers),
        garbage.n_bytes / 1e6,
        keep,
    )


def find_garbage(store: ArtifactStore, keep: int) -> Garbage:
    """Say what a collection would remove, and remove nothing.

    Args:
        store: the store.
        keep: newest finished runs kept per profile of each data set, with all that they use.
    """
    runs, unreadable = recorded_runs(store)
    moves, unreadable_moves = all_moves(store)
    artifacts = store.list()  # after the runs: what a run has finished meanwhile is in neither or in both
    kept, old = _split_runs(runs, {artifact.manifest.key.path for artifact in artifacts}, keep)
    used = {store.root / path for run in kept for path in run.artifacts}
    leftovers: list[Path] = []
    in_use: list[Path] = []
    to_resume: list[Path] = []
    for path in store.leftovers():
        resumable = path.suffix == PARTIAL and path.with_suffix("") in used
        if not path.parent.resolve().is_relative_to(store.root.resolve()):
            logger.warning("%s: a link leads out of the store; nothing is removed there", path)
            continue
        (in_use if store.is_in_use(path) else to_resume if resumable else leftovers).append(path)
    champions = {
        f"{dataset}/{MODEL_STAGE}/{model}"
        for dataset, dataset_moves in moves.items()
        for model in (*champion_stack(dataset_moves)[-KEPT_CHAMPIONS:], best_of(dataset_moves))
    }
    roots = _roots(artifacts, runs, kept, keep, unreadable | unreadable_moves)
    roots += [artifact for artifact in artifacts if _model_path(artifact) in champions]
    wanted = _with_ancestors(roots, artifacts)
    # A run at work may be about to read any finished artifact: while there is one, only leftovers go.
    unwanted = [] if in_use else [artifact for artifact in artifacts if artifact.manifest.key.path not in wanted]
    uploads = store.remote.abandoned_uploads(ABANDONED_AFTER) if store.remote else []
    return Garbage(unwanted, leftovers, uploads, in_use, to_resume, kept, [] if in_use else old)


def collect(store: ArtifactStore, garbage: Garbage) -> list[Path]:
    """Remove what `find_garbage` found, but for what has come into use since; return that."""
    spared = []
    runs = recorded_runs(store)[0]
    started = {path for run in runs if run not in garbage.old_runs for path in run.artifacts}
    # Newest first: killed half way, no artifact is left without its parents.
    for artifact in reversed(garbage.artifacts):
        path = artifact.manifest.key.path
        if path in started or store.is_in_use(artifact.path):
            spared.append(artifact.path)
        else:
            store.delete(artifact.manifest.key)
    for folder in garbage.leftovers:
        with locks.hold_if_free(folder.with_suffix("")) as free:
            if free:
                folder.unlink() if folder.is_symlink() else shutil.rmtree(folder, ignore_errors=True)
            else:
                spared.append(folder)
    for upload in garbage.uploads:
        if store.remote:
            store.remote.remove_upload(upload)
    for run in garbage.old_runs:
        if run in runs:  # else it was started again
            remove_note(store, run.path)
    return spared


def _split_runs(runs: list[Run], existing: set[str], keep: int) -> tuple[list[Run], list[Run]]:
    """Kept and old runs: of every profile all from the newest back to the `keep`-th finished one are kept."""
    n_finished: dict[tuple[str, str], int] = defaultdict(int)
    kept: list[Run] = []
    old: list[Run] = []
    for run in reversed(runs):  # newest first
        profile = (run.dataset, run.profile)
        (kept if n_finished[profile] < keep else old).append(run)
        n_finished[profile] += run.goal in existing
    return kept, old


def _roots(
    artifacts: list[Artifact], runs: list[Run], kept: list[Run], keep: int, unreadable: set[str]
) -> list[Artifact]:
    """What is wanted for its own sake; its ancestors are wanted too."""
    reports = [artifact for artifact in artifacts if artifact.manifest.key.stage == REPORT]
    recorded = {path for run in runs for path in run.artifacts}
    used = {path for run in kept for path in run.artifacts}
    for same in _by_dataset(artifact for artifact in reports if artifact.manifest.key.path not in recorded).values():
        used.update(artifact.manifest.key.path for artifact in same[-keep:])  # oldest first
    claimed = recorded | _with_ancestors(reports, artifacts)
    newest = {dataset: same[-1].manifest.created for dataset, same in _by_dataset(reports).items()}
    if newest:
        newest[SHARED] = max(newest.values())
    for artifact in artifacts:
        key = artifact.manifest.key
        unfinished = key.path not in claimed and artifact.manifest.created >= newest.get(key.dataset, "")
        if unfinished or key.dataset in unreadable:
            used.add(key.path)
    return [artifact for artifact in artifacts if artifact.manifest.key.path in used]


def _model_path(artifact: Artifact) -> str:
    """The artifact's own path; of members that serve in a model's place, the model's."""
    key = artifact.manifest.key
    return f"{key.dataset}/{MODEL_STAGE}/{key.parents[MODEL_STAGE]}" if key.stage == SERVED else key.path


def _by_dataset(artifacts: Iterable[Artifact]) -> dict[str, list[Artifact]]:
    found: dict[str, list[Artifact]] = defaultdict(list)
    for artifact in artifacts:
        found[artifact.manifest.key.dataset].append(artifact)
    return found


def _with_ancestors(roots: Iterable[Artifact], artifacts: list[Artifact]) -> set[str]:
    """Paths, relative to the store, of `roots` and of everything that they were made from."""
    by_path = {artifact.manifest.key.path: artifact for artifact in artifacts}
    wanted: set[str] = set()
    queue = list(roots)
    while queue:
        key = queue.pop().manifest.key
        if key.path in wanted:
            continue
        wanted.add(key.path)
        for role, fingerprint in key.parents.items():
            if is_base(role):
                continue
            stage = role.partition(":")[0]
            places = (f"{dataset}/{stage}/{fingerprint}" for dataset in (key.dataset, SHARED))
            queue.extend(by_path[place] for place in places if place in by_path)
    return wanted


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

"""What `tsrec artifacts` does and prints."""

from argparse import Namespace
from pathlib import Path

from tsrec.errors import ArtifactError, ConfigError
from tsrec.machine.addresses import is_url, place_problem
from tsrec.store import Artifact, ArtifactStore, locks
from tsrec.store.gc import collect, find_garbage


def show_all(options: Namespace) -> None:
    """One line per finished artifact."""
    for artifact in _open(options.store).list():
        print(_line(artifact))


def show(options: Namespace) -> None:
    """The manifest of the one artifact whose fingerprint starts so."""
    artifact = _open(options.store).open(options.fingerprint)
    print(f"{artifact.path}\n{artifact.manifest.to_json()}", end="")


def verify(options: Namespace) -> int:
    """Check every file; changes nothing: the next run sets a corrupt artifact aside and rebuilds it."""
    store = _open(options.store)
    artifacts, n_corrupt = store.list(), 0
    for artifact in artifacts:
        try:
            store.verify(artifact)
            print(f"ok       {_line(artifact)}")
        except ArtifactError as error:
            n_corrupt += 1
            print(f"CORRUPT  {_line(artifact)}\n         {error}")
    print(f"{len(artifacts)} artifacts, {n_corrupt} corrupt" + ("; the next run rebuilds them" if n_corrupt else ""))
    return int(n_corrupt > 0)


def collect_garbage(options: Namespace) -> None:
    """Print what goes, and remove it unless it is a dry run."""
    store = _open(options.store)
    garbage = find_garbage(store, options.keep)
    for path in garbage.in_use:
        holder = locks.holder(path)
        print(
            f"being built, left alone: {path.relative_to(store.root)}" + (f" ({holder.description})" if holder else "")
        )
    if garbage.in_use:
        print(
            "while a run is at work only leftovers are removed; collect again when it has ended "
            f"(a killed one counts as ended after {locks.GONE_AFTER_S / 60:.0f} minutes)"
        )
    for path in garbage.to_resume:
        print(f"kept for its run to go on from: {path.relative_to(store.root)}")
    for run in garbage.kept_runs:
        print(f"keeping {run.dataset}, profile {run.profile}, run of {run.started[:19]}")
    verb = "would remove" if options.dry_run else "removing"
    for artifact in garbage.artifacts:
        print(f"{verb} {artifact.manifest.key.path}")
    for path in garbage.leftovers:
        print(f"{verb} {path.relative_to(store.root)}")
    for upload in garbage.uploads:
        print(f"{verb} abandoned upload {upload}")
    print(f"{'would free' if options.dry_run else 'freed'} {garbage.n_bytes / 1e6:,.1f} MB")
    if not options.dry_run:
        for path in collect(store, garbage):
            print(f"came into use meanwhile, left alone: {path.relative_to(store.root)}")


def _open(store: str) -> ArtifactStore:
    if not is_url(store) and not place_problem(store) and not Path(store).is_dir():
        raise ConfigError(f"--store {store}: no such folder; runs write to `artifacts` unless told otherwise")
    return ArtifactStore(store)


def _line(artifact: Artifact) -> str:
    key, manifest = artifact.manifest.key, artifact.manifest
    n_bytes = sum(entry.n_bytes for entry in manifest.files.values())
    return (
        f"{manifest.created[:19]}  {key.fingerprint}  {key.dataset:14s} {key.stage:10s} "
        f"{n_bytes / 1e6:8.1f} MB {manifest.seconds:8.0f} s"
    )

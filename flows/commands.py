"""What the commands of `tsrec` do and print. Heavy imports wait inside the functions, so that --help is quick."""

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tsrec.columns import Columns as C
from tsrec.config import Config, load_config
from tsrec.errors import ArtifactError, ConfigError
from tsrec.sid import format_sid, format_token
from tsrec.store import Artifact, ArtifactStore


def run(profile: str | None, overrides: Sequence[str], *, with_prefect: bool) -> None:
    """Build what is missing, then print the metrics, where the report is, and what to try next."""
    config = load_config(profile, overrides)
    if with_prefect:
        from flows.train import train

        train(config)
    else:
        from tsrec import pipeline

        pipeline.run(config)
    from tsrec.data import loss_lines
    from tsrec.evaluate.summary import metrics_table

    ingest, evaluate, report = _finished(config, "ingest", "evaluate", "report")
    print(f"\n{config.dataset}, {config.evaluate.split} targets, {config.evaluate.confidence:.0%} intervals")
    print(metrics_table(evaluate.frame("metrics")).to_string())
    if lost := loss_lines(ingest):
        print("\n".join(["\nof the raw data:", *(f"  {line}" for line in lost)]))
    print(f"\nreport: {report.file('report.html')}\n\ntry next:")
    user = evaluate.frame("recommendations", [C.USER])[C.USER].iloc[0]
    same = [*([profile] if profile else []), *(part for override in overrides for part in ("--set", override))]
    for command in (
        ["recommend", *same, "--user", user],
        ["run", *same, "--set", "evaluate.beams=50"],
        ["serve", *same],
    ):
        print(f"  {shlex.join([_program(), *command])}")


def recommend(profile: str | None, overrides: Sequence[str], user: str | None, history: str | None, k: int) -> None:
    """Print K titles with their SIDs, the meaning of every token, and scores."""
    import numpy as np

    from tsrec.evaluate import load_recommender

    config = load_config(profile, overrides)
    ingest, sids, sa_init, finetune = _finished(config, "ingest", "sids", "sa_init", "finetune")
    recommender, histories, item_ids = load_recommender(
        ingest,
        sids,
        finetune,
        n_beams=config.evaluate.beams,
        max_history=config.evaluate.max_history,
        exclude_seen=config.evaluate.exclude_seen,
        device=config.evaluate.device,
    )
    past = histories.items_of_user(user) if user else _item_numbers(history or "", item_ids, config.dataset)
    titles = ingest.frame("items", [C.TITLE])[C.TITLE].tolist()
    meanings = {row.token: row.keywords[:4] for row in sa_init.frame("token_semantics").itertuples(index=False)}
    print("history (the newest last):")
    for item in past[-5:]:
        print(f"    {titles[item]}  [{item_ids[item]}]")
    ((items, scores),) = recommender.recommend([np.array(past, dtype=np.int64)], k)
    for rank, (item, score) in enumerate(zip(items, scores, strict=True), start=1):
        codes = recommender.codes[item]
        print(f"{rank:2d}. {titles[item]}  [{item_ids[item]}]  {format_sid(codes)}  score {score:.3f}")
        for level, code in enumerate(codes):
            token = format_token(level, int(code))
            print(f"      {token:>8}  {', '.join(meanings.get(token, ())) or '(no keywords)'}")


def list_artifacts(store: str) -> None:
    """One line per finished artifact."""
    for artifact in _open(store).list():
        print(_line(artifact))


def show_artifact(store: str, fingerprint: str) -> None:
    """The manifest of the one artifact whose fingerprint starts so."""
    artifact = _open(store).open(fingerprint)
    print(f"{artifact.path}\n{artifact.manifest.to_json()}", end="")


def verify_artifacts(store: str) -> int:
    """Check every file; changes nothing: the next run sets a corrupt artifact aside and rebuilds it."""
    opened = _open(store)
    artifacts, n_corrupt = opened.list(), 0
    for artifact in artifacts:
        try:
            opened.verify(artifact)
            print(f"ok       {_line(artifact)}")
        except ArtifactError as error:
            n_corrupt += 1
            print(f"CORRUPT  {_line(artifact)}\n         {error}")
    print(f"{len(artifacts)} artifacts, {n_corrupt} corrupt" + ("; the next run rebuilds them" if n_corrupt else ""))
    return int(n_corrupt > 0)


def collect_garbage(store: str, keep: int, dry_run: bool) -> None:
    """Print what goes, and remove it unless `dry_run`."""
    from tsrec.store import locks
    from tsrec.store.gc import collect, find_garbage

    opened = _open(store)
    garbage = find_garbage(opened, keep)
    for path in garbage.in_use:
        holder = locks.holder(path)
        print(f"being built, left alone: {path.relative_to(opened.root)}" + (f" ({holder.words})" if holder else ""))
    if garbage.in_use:
        print("while a run is at work only leftovers are removed; collect again when it has ended")
    for path in garbage.to_resume:
        print(f"kept for its run to go on from: {path.relative_to(opened.root)}")
    for run in garbage.kept_runs:
        print(f"keeping {run.dataset}, profile {run.profile}, run of {run.started[:19]}")
    verb = "would remove" if dry_run else "removing"
    for artifact in garbage.artifacts:
        print(f"{verb} {artifact.manifest.key.path}")
    for path in garbage.leftovers:
        print(f"{verb} {path.relative_to(opened.root)}")
    for upload in garbage.uploads:
        print(f"{verb} abandoned upload {upload}")
    print(f"{'would free' if dry_run else 'freed'} {garbage.n_bytes / 1e6:,.1f} MB")
    if not dry_run:
        for path in collect(opened, garbage):
            print(f"came into use meanwhile, left alone: {path.relative_to(opened.root)}")


def serve(profile: str | None, overrides: Sequence[str], host: str, port: int) -> None:
    """Serve the deployment; a profile or overrides become what its form starts from."""
    from flows import serve as serving

    defaults = load_config(profile, overrides) if profile or overrides else None
    serving.serve(defaults, host, port)


def _finished(config: Config, *stages: str) -> list[Artifact]:
    from tsrec import pipeline

    store, planned, artifacts = ArtifactStore(config.store), pipeline.plan(config), []
    for stage in stages:
        artifact = store.find(planned[stage].key)
        if artifact is None:
            raise ArtifactError(
                f"{config.dataset}: no {stage} artifact in {config.store} for this configuration; "
                "give the same profile and --set to `tsrec run` first"
            )
        artifacts.append(artifact)
    return artifacts


def _item_numbers(history: str, item_ids: list[str], dataset: str) -> list[int]:
    numbers = {item: number for number, item in enumerate(item_ids)}
    wanted = [item.strip() for item in history.split(",") if item.strip()]
    unknown = [item for item in wanted if item not in numbers]
    if unknown or not wanted:
        what = f"no item {unknown[0]!r} in the catalogue of {dataset}" if unknown else "no item named"
        raise ConfigError(f"--history: {what}; ids are those of the raw data, e.g. {', '.join(item_ids[:3])}")
    return [numbers[item] for item in wanted]


def _open(store: str) -> ArtifactStore:
    if "://" not in store and not Path(store).is_dir():
        raise ConfigError(f"--store {store}: no such folder; runs write to `artifacts` unless told otherwise")
    return ArtifactStore(store)


def _line(artifact: Artifact) -> str:
    key, manifest = artifact.manifest.key, artifact.manifest
    n_bytes = sum(entry.n_bytes for entry in manifest.files.values())
    return (
        f"{manifest.created[:19]}  {key.fingerprint}  {key.dataset:14s} {key.stage:10s} "
        f"{n_bytes / 1e6:8.1f} MB {manifest.seconds:8.0f} s"
    )


def _program() -> str:
    """How this program was called, as a person would type it again."""
    called = Path(sys.argv[0])
    if shutil.which("tsrec") == str(called.absolute()):
        return "tsrec"
    return str(called.relative_to(Path.cwd()) if called.is_relative_to(Path.cwd()) else called)

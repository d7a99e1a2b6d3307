"""What the commands of `tsrec` do and print. Heavy imports wait inside the functions, so that --help is quick."""

import contextlib
import gc
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from flows.terminal import print_json
from tsrec.columns import Columns as C
from tsrec.config import BatchRequest, Config, load_config, load_grid
from tsrec.errors import ArtifactError, ConfigError, LostRunsError
from tsrec.machine.addresses import is_url, place_problem
from tsrec.store import Artifact, ArtifactStore
from tsrec.store.champions import champion_of

if TYPE_CHECKING:
    from tsrec.recommenders.recommender import Recommender

_NAMED = 5  # unknown items of a history


def run(profile: str | None, overrides: Sequence[str], *, with_prefect: bool, force_from: str | None = None) -> None:
    """Build what is missing, then print the metrics, where the report is, and what to try next."""
    config = load_config(profile, overrides)
    if with_prefect:
        from flows import server

        server.check_configured()
    from tsrec import pipeline

    pipeline.check(config)  # what can be known now is not said by a flow, a server later and twice
    if with_prefect:
        from flows.train import train

        train(config, force_from)
    else:
        pipeline.run(config, force_from=force_from)
    from tsrec.data.data_quality import data_quality_lines
    from tsrec.evaluate.intervals import CONFIDENCE
    from tsrec.evaluate.summary import headline, metrics_table

    ingest, fuse, evaluate, report = _finished(config, "ingest", "fuse", "evaluate", "report")
    differences = evaluate.frame("differences")
    print(f"\n{config.dataset}, {config.evaluate.split} targets, {CONFIDENCE:.0%} intervals over users")
    print(metrics_table(evaluate.frame("metrics"), differences).to_string())
    print(headline(differences))
    if lost := data_quality_lines(ingest):
        print("\n".join(["\nof the raw data:", *(f"  {line}" for line in lost)]))
    print(f"\nreport: {report.file('report.html')}")
    champion = champion_of(ArtifactStore(config.store), config.dataset)
    is_champion = champion == fuse.fingerprint
    print(f"model:  {fuse.fingerprint} ({'the champion' if is_champion else f'the champion is {champion}'})")
    print("\ntry next:")
    user = fuse.frame("recommendations", [C.USER])[C.USER].iloc[0]
    same = [*([profile] if profile else []), *(part for override in overrides for part in ("--set", override))]
    other = [] if is_champion else ["--model", fuse.fingerprint]
    here = not is_url(config.store) and Path(config.store).absolute() == Path(Config().store).absolute()
    elsewhere = [] if here else ["--store", config.store]
    for command in (
        ["recommend", *same, *other, f"--user={user}"],  # one word: a user id may begin with a dash
        ["run", *same, "--set", "evaluate.k=[1,5,20]"],
        ["serve", *same],
        ["api", config.dataset, *elsewhere, *other],
    ):
        print(f"  {shlex.join([*_program(), *command])}")


def refresh(profile: str | None, overrides: Sequence[str], *, with_prefect: bool) -> None:
    """Take new data up, and print what was measured and decided."""
    config = load_config(profile, overrides)
    if with_prefect:
        from flows import server

        server.check_configured()
        from flows.refresh import refresh as flow

        print(flow(config))
        return
    from tsrec import refresh as refreshing

    outcome = refreshing.run(config)
    for name, value in outcome.summary.items():
        print(f"  {name:36s} {value:,.4f}" if isinstance(value, float) else f"  {name:36s} {value:,}")
    print(outcome.message)


def ablation(
    path: str, overrides: Sequence[str], fields: Mapping[str, object], *, dry_run: bool, with_prefect: bool
) -> None:
    """Say what is planned; build and measure it; print the tables, those of what is left where a run failed too."""
    from tsrec import ablation as ablations

    asked, configs = load_grid(path, overrides, **fields)
    plan = ablations.plan_ablation(asked, configs)
    print("\n".join(plan.summary_lines()), flush=True)
    if dry_run:
        return
    lost = None
    try:
        if with_prefect:
            from flows import server

            server.check_configured()
            from flows.ablation import ablation as flow

            flow(configs[0], asked, configs[1:])
        else:
            ablations.write_results(ablations.build_ablation(plan)).check()
    except LostRunsError as error:
        lost = error
    folder = Path(asked.folder).expanduser()
    print(f"\n{(folder / 'table.md').read_text(encoding='utf-8')}\ntables and pictures: {folder}")
    if lost:
        raise lost


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """For what imports thousands of modules and then ends: the collector would visit their objects again and again,
    and once more when the process ends. Together that takes a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()


@_no_garbage_collection()
def recommend(
    profile: str | None,
    overrides: Sequence[str],
    user: str | None,
    history: Sequence[str] | None,
    wish: BatchRequest,
    *,
    as_json: bool,
) -> None:
    """Print K titles with who proposed them, their SIDs and the meaning of every token; or one JSON object."""
    from tsrec import pipeline
    from tsrec.recommenders.batch import allowed_items
    from tsrec.recommenders.explain import Explainer
    from tsrec.recommenders.recommender import Recommender

    config = load_config(profile, overrides)
    lineage, fuse = pipeline.resolve_model(config, wish.model)
    recommender = Recommender.from_artifact(lineage, fuse, wish.method, "forbidden" if wish.no_repeats else None)
    explainer = Explainer(lineage, fuse)
    past = explainer.history_of(user) if user is not None else list(history or ())
    past = _known(past, recommender, config)
    (found,) = recommender.recommend([past], wish.k, allowed_items(recommender, wish))
    if as_json:
        rows = [
            {"rank": rank, **asdict(item), **explainer.describe(item.item_id)} for rank, item in enumerate(found, 1)
        ]
        shown = {"model": fuse.fingerprint, "user": user, "history": past, "recommendations": rows}
        print_json(shown)
        return
    print("history (the newest last):")
    for item in past[-5:]:
        print(f"    {explainer.describe(item)['title']}  [{item}]")
    for rank, recommended in enumerate(found, start=1):
        about = explainer.describe(recommended.item_id)
        score = "popular" if recommended.score is None else f"score {recommended.score:.3f}"
        by = f", proposed by {', '.join(recommended.proposed_by)}" if recommended.proposed_by else ""
        print(f"{rank:2d}. {about['title']}  [{recommended.item_id}]  {score}{by}")
        for token, words in about["tokens"].items():
            print(f"      {token:>8}  {', '.join(words[:4]) or '(no keywords)'}")


def _known(past: Sequence[str], recommender: "Recommender", config: Config) -> list[str]:
    """The items of a history that the catalogue has; says which it lacks. Raises ConfigError where it has none."""
    unknown = list(dict.fromkeys(recommender.unknown(past)))
    if not unknown:
        return list(past)
    known = [item for item in past if item not in unknown]
    named = f"{', '.join(map(repr, unknown[:_NAMED]))}{' ...' if len(unknown) > _NAMED else ''}"
    lacks = f"the catalogue of {config.dataset} lacks {len(unknown)} of {len(set(past))} items of the history: {named}"
    if not known:
        examples = ", ".join(recommender.catalogue.item_ids[:3])
        raise ConfigError(f"{lacks}; ids are those of the raw data, e.g. {examples}")
    print(f"tsrec: {lacks}; the others count", file=sys.stderr)
    return known


def recommend_users(profile: str | None, overrides: Sequence[str], wish: BatchRequest, *, as_json: bool) -> None:
    """Write the lists of many users as Parquet parts, and print what was counted."""
    from tsrec import pipeline
    from tsrec.recommenders.batch import recommend_users as write

    lineage, fuse = pipeline.resolve_model(load_config(profile, overrides), wish.model)
    batch = write(lineage, fuse, wish)
    if as_json:
        print_json({"model": fuse.fingerprint, "folder": str(batch.folder), **batch.counts})
        return
    print(f"{batch.folder}: {len(batch.parts)} parts by model {fuse.fingerprint}")
    for name, count in batch.counts.items():
        print(f"  {name:24s} {count:,}")


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
        print(
            f"being built, left alone: {path.relative_to(opened.root)}" + (f" ({holder.description})" if holder else "")
        )
    if garbage.in_use:
        print(
            "while a run is at work only leftovers are removed; collect again when it has ended "
            f"(a killed one counts as ended after {locks.GONE_AFTER_S / 60:.0f} minutes)"
        )
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


def serve(
    profiles: Sequence[str],
    overrides: Sequence[str],
    host: str,
    port: int,
    *,
    limit: int,
    schedule: str | None,
    timezone: str | None,
    without_auth: bool,
) -> None:
    """Serve the deployments of all profiles; each form starts from its profile and the overrides."""
    from flows import serve as serving

    configs = [load_config(profile, overrides) for profile in profiles] or [load_config(None, overrides)]
    serving.serve(configs, host, port, limit=limit, schedule=schedule, timezone=timezone, without_auth=without_auth)


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


def _program() -> list[str]:
    """How this program was called, as a shell in the same folder takes it again."""
    called = Path(sys.argv[0]).absolute()
    if called.suffix == ".py" or not called.is_file():  # python -m flows.cli, or from within another program
        return [sys.executable, "-m", "flows.cli"]
    if shutil.which("tsrec") == str(called):
        return ["tsrec"]
    if called.is_relative_to(Path.cwd()):
        return [f"./{called.relative_to(Path.cwd())}"]
    return [str(called)]
